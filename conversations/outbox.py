"""The outbox: entries that are committed and not yet deposited, and who is at work on them.

Rows are claimed by lease, not by an open lock: a claim that expires is taken by any finisher, and whatever a late claimant does is idempotent.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from accounts import postgresql
from accounts.arrays import bigints, uuids
from accounts.positions import OLDEST_OPEN
from conversations import entries as bundles
from conversations.entries import LogEntry

LEASE_SECONDS = 10

CLAIM = """
UPDATE conversations_outbox o SET claimed_until = clock_timestamp() + make_interval(secs => %s)
FROM (
    SELECT conversation_id, seq FROM conversations_outbox
    WHERE source = %s AND (claimed_until < clock_timestamp() OR claimed_until > clock_timestamp() + interval '1 hour')
    ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED
) due
WHERE o.conversation_id = due.conversation_id AND o.seq = due.seq
RETURNING o.bundle
"""
DONE = """
DELETE FROM conversations_outbox o USING unnest(%s::uuid[], %s::bigint[]) AS d (conversation_id, seq)
WHERE o.conversation_id = d.conversation_id AND o.seq = d.seq
"""
WATERMARK = f"""
SELECT LEAST({OLDEST_OPEN}, (SELECT min(position) FROM conversations_outbox WHERE source = %s)),
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       COALESCE((SELECT min(kept_ms) FROM (SELECT kept_ms FROM conversations_outbox WHERE source = %s ORDER BY position LIMIT 1000) oldest), 0)
"""  # noqa: S608  (constants)
OF_USER = """
SELECT bundle FROM (
    SELECT o.bundle, o.position, o.seq,
           sum(o.size) OVER (ORDER BY o.position, o.seq, o.conversation_id ROWS UNBOUNDED PRECEDING) - o.size AS before
    FROM conversations_outbox o
    JOIN conversations_member m ON m.conversation_id = o.conversation_id
    WHERE m.user_id = %s AND (m.left_seq IS NULL OR m.left_seq >= o.seq) AND m.joined_seq <= o.seq
    ORDER BY o.position, o.seq, o.conversation_id LIMIT %s
) oldest
WHERE before < %s ORDER BY position, seq
"""
OF_CONVERSATION = (
    "SELECT bundle FROM conversations_outbox WHERE conversation_id = %s AND seq BETWEEN %s AND %s ORDER BY seq"
)
WEIGHT = "SELECT count(*), COALESCE(sum(size), 0) FROM conversations_outbox"


class Watermark(msgspec.Struct, frozen=True):
    """Everything at a position below `position` is deposited in the source. Both times are PostgreSQL's, in ms since 1970."""

    position: int
    now_ms: int
    oldest_kept_ms: int


async def claim(source: str, *, limit: int) -> list[LogEntry]:
    """Take over entries nobody is at work on, oldest first; they are the caller's for LEASE_SECONDS."""
    rows = await _rows(CLAIM, [LEASE_SECONDS, source, limit])
    return sorted((bundles.decode(row[0]) for row in rows), key=lambda entry: (entry.position, entry.message_id))


async def done(entries: Iterable[tuple[UUID, int]]) -> None:
    """These (conversation, seq) are in their store: forget their bundles."""
    keys = sorted(entries)
    async with postgresql.connection() as conn:
        await conn.execute(DONE, [uuids(key[0] for key in keys), bigints(key[1] for key in keys)], prepare=True)


async def watermark(source: str) -> Watermark:
    """Read this before a mailbox: what is committed later has a position at or above it."""
    row = (await _rows(WATERMARK, [source, source]))[0]
    return Watermark(row[0], row[1], row[2] or row[1])


async def of_user(user_id: UUID, *, limit: int, most_bytes: int) -> tuple[list[LogEntry], bool]:
    """Undeposited entries of the user's conversations, oldest first, until `limit` of them or `most_bytes` are reached; whether these are all."""
    rows = await _rows(OF_USER, [user_id, limit, most_bytes])
    is_all = len(rows) < limit and sum(len(row[0]) for row in rows) < most_bytes
    return [bundles.decode(row[0]) for row in rows], is_all


async def of_conversation(conversation_id: UUID, from_seq: int, to_seq: int) -> list[LogEntry]:
    """Undeposited entries of one conversation within a range of seqs, in order."""
    return [bundles.decode(row[0]) for row in await _rows(OF_CONVERSATION, [conversation_id, from_seq, to_seq])]


async def weight() -> tuple[int, int]:
    """Rows and bytes of bundles in the outbox."""
    row = (await _rows(WEIGHT, []))[0]
    return row[0], int(row[1])


async def _rows(query: str, params: Sequence[Any]) -> list[Any]:
    async with postgresql.connection() as conn:
        cursor = conn.cursor(binary=True)
        await cursor.execute(query, params, prepare=True)
        return await cursor.fetchall()
