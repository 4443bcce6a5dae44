"""Positions: the order in which committed things become visible, without a clock.

A position is an era in the high 16 bits and a transaction id in the low 48. A transaction that commits later than a snapshot was taken has a
position at or above that snapshot's oldest open transaction, so "everything below W is visible" can be known (`outbox.watermark`).

The era is PostgreSQL's timeline and what accepted restores have added to it. A promotion or a restore to a point in time raises the timeline by
itself; where a restore does not, the operator's word raises the era (`lineage_guard.raise_era`). So every later position is above every earlier one.
"""

XID_BITS = 48
XID_MASK = (1 << XID_BITS) - 1

# At once the new one after a promotion; `pg_control_checkpoint` says it a checkpoint later.
TIMELINE = "(('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 5, 4), 16, '0'))::bit(64)::bigint)"

ERA = f"((SELECT added FROM accounts_era) + {TIMELINE})"  # noqa: S608  (constants)

# The high bits of every position given in this era.
ERA_BITS = f"({ERA} << {XID_BITS})"

# The position of the running transaction.
POSITION = f"({ERA_BITS} | pg_current_xact_id()::text::bigint)"

# No transaction that is still to commit has a position below this one.
OLDEST_OPEN = f"({ERA_BITS} | pg_snapshot_xmin(pg_current_snapshot())::text::bigint)"
