"""How long PostgreSQL may let a serving process wait: whatever takes longer is a fault, never a queue."""

# libpq's `options` of every connection of a web process, on both roads.
SESSION_LIMITS = "-c lock_timeout=2000 -c statement_timeout=3000 -c idle_in_transaction_session_timeout=5000"
# For a host that is gone without a word: its connections are given up by the kernel, so that they do not pile up.
NETWORK_LIMITS = {
    "connect_timeout": 2,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# Somewhat more than a statement may take, for a server that does not keep to its own limits because it stands still.
ANSWER_SECONDS = 3.5
