"""The schema of the message store's keyspace: numbered files, and the runner that applies them."""
