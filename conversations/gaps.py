"""Gaps: what a device does not get although it was committed, in the order it is told of it.

The rows are few. One is written when a message is skipped because the device cannot get past it, and when a message is committed for a device whose
mailbox is full: then in the transaction that commits it, so that no seq is left out without the gap that says so.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from accounts import statements
from accounts.arrays import bigints, uuids
from conversations.entries import LogEntry

logger = logging.getLogger(__name__)

# So often a socket is closed because of the same message before the message is skipped.
MOST_TIMES_STUCK = 5

OF_DEVICE = """
SELECT d.mailbox_full, g.conversation_id, g.from_seq, g.to_seq, g.message_id, g.position, g.kept_ms, g.skips, g.told
FROM devices_device d LEFT JOIN conversations_gap g ON g.device_id = d.id AND g.position >= d.mailbox_from
WHERE d.id = %s ORDER BY g.position, g.to_seq
"""
# Only what follows at once: what lies between two gaps is in the mailbox, or on its way there.
EXTEND = """
WITH n AS (
    SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
        AS t (device_id, conversation_id, from_seq, to_seq, message_id, position, kept_ms)
), extended AS (
    UPDATE conversations_gap g SET to_seq = n.to_seq, message_id = n.message_id, position = n.position, kept_ms = n.kept_ms
    FROM n WHERE g.device_id = n.device_id AND g.conversation_id = n.conversation_id AND NOT g.skips AND g.to_seq = n.from_seq - 1
    RETURNING g.device_id, g.conversation_id
)
INSERT INTO conversations_gap (device_id, conversation_id, from_seq, to_seq, message_id, position, kept_ms)
SELECT n.* FROM n WHERE NOT EXISTS (SELECT FROM extended e WHERE e.device_id = n.device_id AND e.conversation_id = n.conversation_id)
"""
STUCK = """
UPDATE devices_device SET stuck_times = CASE WHEN stuck_message_id = %s THEN LEAST(stuck_times + 1, 100) ELSE 1 END, stuck_message_id = %s
WHERE id = %s RETURNING stuck_times
"""
# What was skipped so long ago is in no mailbox any more.
FORGET = """
DELETE FROM conversations_gap
WHERE device_id = %s AND skips AND kept_ms < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - %s
"""
FORGET_MS = 50 * 24 * 3600 * 1000
SKIP = """
INSERT INTO conversations_gap (device_id, conversation_id, from_seq, to_seq, message_id, position, kept_ms, skips)
VALUES (%s, %s, %s, %s, %s, %s, %s, true) ON CONFLICT DO NOTHING
"""
# One that was extended meanwhile has more to tell.
TOLD = """
WITH n AS (
    SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS t (conversation_id, from_seq, to_seq)
), closed AS (
    DELETE FROM conversations_gap g USING n
    WHERE g.device_id = %s AND g.conversation_id = n.conversation_id AND g.from_seq = n.from_seq AND g.to_seq = n.to_seq AND NOT g.skips
)
UPDATE conversations_gap g SET told = true FROM n
WHERE g.device_id = %s AND g.conversation_id = n.conversation_id AND g.from_seq = n.from_seq AND g.skips
"""
DRAINED = (
    "UPDATE devices_device SET mailbox_full = false, pending_rows = 0, pending_bytes = 0 WHERE id = %s AND mailbox_full"
)


class Gap(msgspec.Struct, frozen=True):
    """What a device does not get of one conversation. `message_id`, `position` and `kept_ms` are those of the last entry in it."""

    conversation_id: UUID
    from_seq: int
    to_seq: int
    message_id: int
    position: int
    kept_ms: int
    skips: bool = False
    told: bool = False


class Gaps(msgspec.Struct, frozen=True):
    """All gaps of a device, and whether its mailbox is full now."""

    gaps: list[Gap]
    mailbox_full: bool


async def of_device(device_id: int) -> Gaps:
    """What the device does not get. Raises StorageUnavailable."""
    rows = await statements.rows(OF_DEVICE, [device_id])
    return Gaps([Gap(*row[1:]) for row in rows if row[1] is not None], bool(rows) and rows[0][0])


async def told(device_id: int, gaps: Iterable[Gap]) -> None:
    """The device has acknowledged these as they were told."""
    known = list(gaps)
    ranges = [
        uuids(gap.conversation_id for gap in known),
        bigints(gap.from_seq for gap in known),
        bigints(gap.to_seq for gap in known),
    ]
    await statements.run(TOLD, [*ranges, device_id, device_id])


async def note_stuck(device_id: int, at: Gap) -> bool:
    """The device did not acknowledge this message, though it was sent twice. Whether it is skipped from now on; it stays in the mailbox."""
    [[times]] = await statements.rows(STUCK, [at.message_id, at.message_id, device_id]) or [[0]]
    if times < MOST_TIMES_STUCK:
        return False
    place = [at.conversation_id, at.from_seq, at.to_seq, at.message_id, at.position, at.kept_ms]
    await statements.run(FORGET, [device_id, FORGET_MS])
    await statements.run(SKIP, [device_id, *place])
    logger.error(
        "A message was skipped, its device does not get past it: device %s, conversation %s, seq %s",
        device_id,
        at.conversation_id,
        at.to_seq,
    )
    return True


async def drained(device_id: int) -> None:
    """The device has been sent all that was in its mailbox: new messages are put into it again."""
    await statements.run(DRAINED, [device_id])


def columns(omitted: dict[tuple[UUID, int], tuple[int, int]], entries: Sequence[LogEntry]) -> list[Any]:
    """The parameters of EXTEND: by conversation and device the first and the last seq that are left out, all among these entries."""
    by_place = {(entry.conversation_id, entry.seq): entry for entry in entries}
    last = [by_place[key[0], seqs[1]] for key, seqs in omitted.items()]
    return [
        bigints(key[1] for key in omitted),
        uuids(key[0] for key in omitted),
        bigints(seqs[0] for seqs in omitted.values()),
        bigints(seqs[1] for seqs in omitted.values()),
        bigints(entry.message_id for entry in last),
        bigints(entry.position for entry in last),
        bigints(entry.kept_ms for entry in last),
    ]
