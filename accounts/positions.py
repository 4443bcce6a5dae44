"""Positions: the order in which committed things become visible, without a clock.

A position is PostgreSQL's timeline in the high 16 bits and a transaction id in the low 48. A transaction that commits later than a snapshot
was taken has a position at or above that snapshot's oldest open transaction, so "everything below W is visible" can be known (`WATERMARK`).
A promotion or a restore raises the timeline, and with it every later position.
"""

XID_BITS = 48
XID_MASK = (1 << XID_BITS) - 1

_TIMELINE = "(('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 5, 4), 16, '0'))::bit(64)::bigint)"

# The high bits of every position given on this timeline.
TIMELINE_BITS = f"({_TIMELINE} << {XID_BITS})"

# The position of the running transaction.
POSITION = f"({TIMELINE_BITS} | pg_current_xact_id()::text::bigint)"

# No transaction that is still to commit has a position below this one.
OLDEST_OPEN = f"({TIMELINE_BITS} | pg_snapshot_xmin(pg_current_snapshot())::text::bigint)"
