"""How long PostgreSQL may let a serving process wait: a statement that takes longer is a fault, never a queue."""

# libpq's `options` of every connection of a web process, on both roads.
SESSION_LIMITS = "-c lock_timeout=2000 -c statement_timeout=3000 -c idle_in_transaction_session_timeout=5000"
