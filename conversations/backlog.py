"""How much is committed and not yet in its store, and how old the oldest of what keeps the watermark back is."""

import msgspec

from accounts import statements

# An open transaction that has written keeps the watermark back like a row of the outbox does; those of other roles are seen by pg_monitor alone.
MEASURE = """
SELECT count(*), count(*) FILTER (WHERE failures > 0), COALESCE(sum(size), 0)::bigint,
       COALESCE(extract(epoch FROM clock_timestamp()) - min(kept_ms) / 1000.0, 0)::float8,
       (SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
        FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND datname = current_database())
FROM conversations_outbox
"""


class Backlog(msgspec.Struct, frozen=True):
    """Rows of the outbox, those of them that were set aside, bytes; and ages in seconds of PostgreSQL's clock, 0 where there is nothing."""

    rows: int = 0
    set_aside: int = 0
    bytes: int = 0
    oldest_seconds: float = 0.0
    oldest_transaction_seconds: float = 0.0


async def measure() -> Backlog:
    """Ask. Raises StorageUnavailable."""
    [[rows, set_aside, size, oldest, oldest_transaction]] = await statements.rows(MEASURE, [])
    return Backlog(rows, set_aside, size, max(0.0, oldest), oldest_transaction)
