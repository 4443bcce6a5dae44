"""The outbox: entries that are committed and not yet deposited, and who is at work on them.

Rows are claimed by lease, not by an open lock: a claim that expires is taken by any finisher, and whatever a late claimant does is idempotent.

A row that cannot be read, or that its store refuses, is set aside: it stays, is tried again seldom, and holds back the cursors of those alone
who may be among its recipients.
"""

import logging
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import msgspec

from accounts import postgresql, statements
from accounts.arrays import bigints, uuids
from accounts.positions import OLDEST_OPEN
from conversations import entries as bundles
from conversations.entries import LogEntry

logger = logging.getLogger(__name__)

LEASE_SECONDS = 10
# What a finisher could not deposit is left alone for so long, and is then anybody's.
RELEASED_SECONDS = 1
# Read and written again in a fraction of the lease.
LARGEST_CLAIM_BYTES = 8 * 1024 * 1024
# How long a row that was set aside is left alone: longer each time. CLAIM takes a claim of more than an hour for a wrong clock's.
FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 1800

CLAIM = """
UPDATE conversations_outbox o SET claimed_until = clock_timestamp() + make_interval(secs => %s)
FROM (
    SELECT conversation_id, seq, sum(size) OVER (ORDER BY position, seq, conversation_id ROWS UNBOUNDED PRECEDING) - size AS before FROM (
        SELECT conversation_id, seq, position, size FROM conversations_outbox
        WHERE source = %s AND (claimed_until < clock_timestamp() OR claimed_until > clock_timestamp() + interval '1 hour')
        ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED
    ) free
) due
WHERE o.conversation_id = due.conversation_id AND o.seq = due.seq AND due.before < %s
RETURNING o.conversation_id, o.seq, o.bundle
"""
# A deletion stays until its target is deposited too: as long as that is read here, this is where it says that it is deleted. It does not wait for a
# target that was set aside: that may stay for ever, and what is not set aside holds back the watermark of all.
DONE = """
WITH d AS (SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS d (conversation_id, seq))
DELETE FROM conversations_outbox o USING d
WHERE o.conversation_id = d.conversation_id AND o.seq = d.seq AND NOT EXISTS (
    SELECT FROM conversations_outbox target
    WHERE target.conversation_id = o.conversation_id AND target.seq = o.deletes_seq AND target.failures = 0
      AND NOT EXISTS (SELECT FROM d t WHERE t.conversation_id = target.conversation_id AND t.seq = target.seq))
"""
SET_ASIDE = """
UPDATE conversations_outbox o
SET failures = LEAST(o.failures + 1, 100), claimed_until = clock_timestamp() + make_interval(secs => LEAST(%s * 2 ^ LEAST(o.failures, 20), %s))
FROM unnest(%s::uuid[], %s::bigint[]) AS d (conversation_id, seq)
WHERE o.conversation_id = d.conversation_id AND o.seq = d.seq
RETURNING o.conversation_id, o.seq, o.failures
"""
# Whoever has claimed them meanwhile does what is idempotent.
RELEASE = """
UPDATE conversations_outbox o SET claimed_until = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::uuid[], %s::bigint[]) AS d (conversation_id, seq)
WHERE o.conversation_id = d.conversation_id AND o.seq = d.seq AND o.failures = 0
"""
TAKE_UP_AGAIN = "UPDATE conversations_outbox SET claimed_until = clock_timestamp() WHERE failures > 0"
# What was set aside may be deposited when its recipients' cursors have long moved on: theirs must not. Nobody else has to wait for it.
WATERMARK = f"""
WITH held AS (
    SELECT min(o.position) AS position, min(o.kept_ms) AS kept_ms FROM conversations_outbox o
    WHERE o.failures > 0 AND o.source = %s AND EXISTS (
        SELECT FROM conversations_member m
        WHERE m.conversation_id = o.conversation_id AND m.user_id = %s AND o.seq BETWEEN m.joined_seq AND COALESCE(m.left_seq, o.seq))
)
SELECT LEAST({OLDEST_OPEN}, (SELECT min(position) FROM conversations_outbox WHERE source = %s AND failures = 0), held.position),
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       COALESCE(LEAST(held.kept_ms, (
           SELECT min(kept_ms) FROM (
               SELECT kept_ms FROM conversations_outbox WHERE source = %s AND failures = 0 ORDER BY position LIMIT 1000) oldest)), 0)
FROM held
"""  # noqa: S608  (constants)
OF_USER = f"""
SELECT bundle, position, seq, conversation_id, {OLDEST_OPEN} FROM (
    SELECT o.bundle, o.position, o.seq, o.conversation_id,
           sum(o.size) OVER (ORDER BY o.position, o.seq, o.conversation_id ROWS UNBOUNDED PRECEDING) - o.size AS before
    FROM conversations_outbox o
    JOIN conversations_member m ON m.conversation_id = o.conversation_id
    WHERE m.user_id = %s AND (m.left_seq IS NULL OR m.left_seq >= o.seq) AND m.joined_seq <= o.seq
      AND o.position >= %s AND (o.position, o.seq, o.conversation_id) > (%s, %s, %s)
    ORDER BY o.position, o.seq, o.conversation_id LIMIT %s
) oldest
WHERE before < %s ORDER BY position, seq, conversation_id
"""  # noqa: S608  (a constant)
OF_CONVERSATION = (
    "SELECT bundle FROM conversations_outbox WHERE conversation_id = %s AND seq BETWEEN %s AND %s ORDER BY seq"
)
DELETED = "SELECT deletes_seq FROM conversations_outbox WHERE conversation_id = %s AND deletes_seq BETWEEN %s AND %s"

Key = tuple[UUID, int]


class Claimed(NamedTuple):
    """What a finisher has taken over: entries, oldest first, and rows (conversation, seq) that no entry can be made of."""

    entries: list[LogEntry]
    unreadable: list[Key]


class Watermark(msgspec.Struct, frozen=True):
    """Everything at a position below `position` that may be for the user is deposited in the source. Both times are PostgreSQL's, in ms since 1970."""

    position: int
    now_ms: int
    oldest_kept_ms: int


class Place(msgspec.Struct, frozen=True):
    """Where an undeposited entry stands among those of all conversations."""

    position: int = 0
    seq: int = 0
    conversation_id: UUID = UUID(int=0)


class Waiting(NamedTuple):
    """One undeposited row; no entry where it cannot be read."""

    place: Place
    entry: LogEntry | None


class Look(NamedTuple):
    """Undeposited rows in their order. `is_all`: there are no more. No row is going to appear in front of one below `oldest_open`."""

    rows: list[Waiting]
    is_all: bool
    oldest_open: int


async def claim(source: str, *, limit: int) -> Claimed:
    """Take over entries nobody is at work on, the oldest; they are the caller's for LEASE_SECONDS. At most `limit`, and few of the large ones."""
    claimed = Claimed([], [])
    for conversation_id, seq, bundle in await statements.rows(
        CLAIM, [LEASE_SECONDS, source, limit, LARGEST_CLAIM_BYTES]
    ):
        entry = _readable(bundle)
        if entry is None:
            claimed.unreadable.append((conversation_id, seq))
        else:
            claimed.entries.append(entry)
    claimed.entries.sort(key=lambda entry: (entry.position, entry.message_id))
    return claimed


async def done(entries: Iterable[Key]) -> None:
    """These (conversation, seq) are in their store: forget their bundles. One that deletes what is not, is deposited again when its claim has ended."""
    keys = sorted(entries)
    await statements.run(DONE, [uuids(key[0] for key in keys), bigints(key[1] for key in keys)])


async def release(entries: Iterable[Key]) -> None:
    """These were claimed and are not deposited: in a moment any finisher may claim them, without waiting for the end of the lease."""
    keys = sorted(entries)
    columns = [uuids(key[0] for key in keys), bigints(key[1] for key in keys)]
    await statements.run(RELEASE, [RELEASED_SECONDS, *columns])


async def set_aside(entries: Iterable[Key], *, reason: str) -> None:
    """These cannot be deposited, though their store is well. They stay, and are tried again after a pause, which grows. Logged the first time."""
    keys = sorted(entries)
    columns = [uuids(key[0] for key in keys), bigints(key[1] for key in keys)]
    for conversation_id, seq, failures in await statements.rows(
        SET_ASIDE, [FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, *columns]
    ):
        if failures == 1:
            logger.error("Message set aside in the outbox (%s): conversation %s, seq %s", reason, conversation_id, seq)


async def take_up_again() -> int:
    """Have everything that was set aside tried again now; how much that is."""
    async with postgresql.connection() as conn:
        return (await conn.execute(TAKE_UP_AGAIN)).rowcount


async def watermark(source: str, user_id: UUID) -> Watermark:
    """Read this before a mailbox of the user: what is committed later has a position at or above it."""
    row = (await statements.rows(WATERMARK, [source, user_id, source, source]))[0]
    return Watermark(row[0], row[1], row[2] or row[1])


async def of_user(user_id: UUID, *, after: Place, limit: int, most_bytes: int) -> Look:
    """Undeposited rows of the user's conversations behind `after`, oldest first, until `limit` of them or `most_bytes` are reached."""
    place = [after.position, after.position, after.seq, after.conversation_id]
    rows = await statements.rows(OF_USER, [user_id, *place, limit, most_bytes])
    is_all = len(rows) < limit and sum(len(row[0]) for row in rows) < most_bytes
    return Look([Waiting(Place(*row[1:4]), _readable(row[0])) for row in rows], is_all, rows[0][4] if rows else 0)


async def of_conversation(conversation_id: UUID, from_seq: int, to_seq: int) -> list[LogEntry]:
    """Undeposited entries of one conversation within a range of seqs, in order; those that can be read."""
    found = (_readable(row[0]) for row in await statements.rows(OF_CONVERSATION, [conversation_id, from_seq, to_seq]))
    return [entry for entry in found if entry is not None]


async def deleted(conversation_id: UUID, from_seq: int, to_seq: int) -> set[int]:
    """Seqs within a range that an undeposited entry empties, wherever that stands: their rows in the store are not emptied yet."""
    return {row[0] for row in await statements.rows(DELETED, [conversation_id, from_seq, to_seq])}


def _readable(bundle: bytes) -> LogEntry | None:
    try:
        return bundles.decode(bundle)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
