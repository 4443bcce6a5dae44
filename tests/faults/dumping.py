"""What PostgreSQL says at the end of a run, written into its history: the ledger, the stays of members, the devices, and what is left over."""

import time
from collections.abc import Collection
from uuid import UUID

import psycopg

from accounts.positions import OLDEST_OPEN
from tests.faults.history import DeviceRow, Dumped, LedgerRow, StayRow, Writer

LEDGER = """
SELECT conversation_id::text, seq, message_id::text, client_message_id::text, sender_device_id::text, kind FROM conversations_ledger l
WHERE NOT EXISTS (SELECT FROM conversations_member m WHERE m.conversation_id = l.conversation_id AND m.user_id = ANY(%s))
ORDER BY conversation_id, seq
"""
STAYS = """
SELECT conversation_id::text, user_id::text, joined_seq, left_seq, last_read_seq FROM conversations_member s
WHERE NOT EXISTS (SELECT FROM conversations_member m WHERE m.conversation_id = s.conversation_id AND m.user_id = ANY(%s))
"""
DEVICES = "SELECT id::text, user_id::text, active FROM devices_device WHERE NOT user_id = ANY(%s)"
LEFT = f"""
SELECT (SELECT count(*) FROM conversations_outbox),
       COALESCE((SELECT max(position) FROM conversations_ledger), 0) < {OLDEST_OPEN}
"""  # noqa: S608  (a constant)
LAG = """
SELECT GREATEST(
    (SELECT COALESCE(extract(epoch FROM clock_timestamp()) - min(kept_ms) / 1000.0, 0) FROM conversations_outbox),
    (SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity WHERE backend_xid IS NOT NULL)
)::float8
"""
BACKLOG = "SELECT count(*) FROM conversations_outbox"
EMPTY_SECONDS = 60.0


def watermark_lag(url: str) -> float:
    """For how many seconds the watermark has been held back by what is the oldest of that."""
    with psycopg.connect(url, autocommit=True) as connection:
        [seconds] = connection.execute(LAG).fetchone() or (0.0,)
    return float(seconds)


def await_empty_outbox(url: str) -> float:
    """Seconds until nothing was left in the outbox; a minute at the most."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(BACKLOG).fetchone() != (0,) and time.monotonic() - began < EMPTY_SECONDS:
            time.sleep(0.1)
    return time.monotonic() - began


def dump(url: str, writer: Writer, strangers: Collection[str]) -> None:
    """Write all of it, without the conversations and devices of `strangers` (user ids), of whom the history knows nothing."""
    others = [UUID(user_id) for user_id in strangers]
    with psycopg.connect(url) as connection:
        for row in connection.execute(LEDGER, [others]):
            writer.write(
                LedgerRow(
                    conversation=row[0], seq=row[1], message_id=row[2], mid=row[3], sender_device=row[4], kind=row[5]
                )
            )
        for row in connection.execute(STAYS, [others]):
            writer.write(
                StayRow(conversation=row[0], user=row[1], joined_seq=row[2], left_seq=row[3], last_read_seq=row[4])
            )
        for row in connection.execute(DEVICES, [others]):
            writer.write(DeviceRow(device=row[0], user=row[1], active=row[2]))
        backlog, reached = connection.execute(LEFT).fetchone() or (0, False)
    writer.write(Dumped(backlog=backlog, watermark_reached=reached))
    writer.flush()
