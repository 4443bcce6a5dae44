"""What is done to the servers while people talk, and how long they need to be well again."""
