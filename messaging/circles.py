"""Who hears of whom: members of common conversations who both want it, and neither of whom blocks the other.

Asked anew for everything that is told: whoever has left, blocks, or has changed a setting is out of it at once.
"""

from collections.abc import Collection
from typing import LiteralString
from uuid import UUID

import msgspec

from accounts import statements
from accounts.arrays import uuids
from accounts.connections import Connection
from accounts.preferences import PRESENCE, READ_RECEIPTS, TYPING_INDICATORS
from accounts.relationships import block_between
from accounts.statements import ask
from accounts.wire.refusals import NotFound
from messaging.envelopes import Mailbox


def _wants(user: LiteralString, key: LiteralString) -> LiteralString:
    """The SQL condition that the person of this expression has not turned the setting off."""
    return (
        f"NOT EXISTS (SELECT FROM accounts_preference p WHERE p.user_id = {user} AND p.key = '{key}'"
        " AND p.value = 'false'::jsonb)"
    )


TYPING = f"""
SELECT ARRAY(
    SELECT m.user_id FROM conversations_member m
    WHERE m.conversation_id = me.conversation_id AND m.left_seq IS NULL AND m.user_id <> me.user_id
      AND {_wants("me.user_id", TYPING_INDICATORS)} AND {_wants("m.user_id", TYPING_INDICATORS)}
      AND NOT {block_between("me.user_id", "m.user_id")}
    ORDER BY m.user_id)
FROM conversations_member me WHERE me.conversation_id = %s AND me.user_id = %s AND me.left_seq IS NULL
"""  # noqa: S608  (constants)
# The same whoever of the two asks.
ACQUAINTED = f"""
SELECT DISTINCT m.user_id FROM conversations_member me
JOIN conversations_member m ON m.conversation_id = me.conversation_id AND m.left_seq IS NULL
WHERE me.user_id = %s AND me.left_seq IS NULL AND m.user_id = ANY(%s)
  AND {_wants("me.user_id", PRESENCE)} AND {_wants("m.user_id", PRESENCE)} AND NOT {block_between("me.user_id", "m.user_id")}
"""  # noqa: S608  (constants)
CALLED = f"""
SELECT m.user_id, d.id, {block_between("me.user_id", "m.user_id")},
       m.user_id <> me.user_id AND NOT ({_wants("me.user_id", PRESENCE)} AND {_wants("m.user_id", PRESENCE)})
FROM conversations_member me
JOIN conversations_member m ON m.conversation_id = me.conversation_id AND m.left_seq IS NULL
JOIN devices_device d ON d.user_id = m.user_id AND d.active
WHERE me.conversation_id = %s AND me.user_id = %s AND me.left_seq IS NULL AND d.id <> %s
ORDER BY d.id
"""  # noqa: S608  (constants)
TOLD_OF_READING = f"""
SELECT m.user_id FROM conversations_member m
WHERE m.conversation_id = %s AND m.left_seq IS NULL AND m.user_id = ANY(%s)
  AND {_wants("%s", READ_RECEIPTS)} AND {_wants("m.user_id", READ_RECEIPTS)}
"""  # noqa: S608  (constants)
STILL_THERE = """
SELECT m.conversation_id, m.user_id FROM unnest(%s::uuid[], %s::uuid[]) AS n (conversation_id, user_id)
JOIN conversations_member m ON m.conversation_id = n.conversation_id AND m.user_id = n.user_id AND m.left_seq IS NULL
"""


class Callee(msgspec.Struct, frozen=True):
    """A device somebody calls. `is_apart`: no call reaches it, because one of the two blocks the other; `is_unseen`: one of them does not want presence, so
    the caller may not learn whether it is connected."""

    mailbox: Mailbox
    is_apart: bool
    is_unseen: bool


async def told_of_typing(user_id: UUID, conversation_id: UUID) -> list[UUID]:
    """The other members who may hear that this one types. Raises NotFound for whoever is no member, StorageUnavailable."""
    rows = await statements.rows(TYPING, [conversation_id, user_id])
    if not rows:
        raise NotFound
    return list(rows[0][0])


async def acquainted(user_id: UUID, others: Collection[UUID]) -> set[UUID]:
    """Those of the others who may see whether this person is there; and who may be seen. Raises StorageUnavailable."""
    return {row[0] for row in await statements.rows(ACQUAINTED, [user_id, list(others)])}


async def told_of_reading(conn: Connection, reader: UUID, conversation_id: UUID, others: Collection[UUID]) -> set[UUID]:
    """Those of the others who are members now and may hear how far this one has read."""
    rows = await (await ask(conn, TOLD_OF_READING, [conversation_id, uuids(others), reader])).fetchall()
    return {row[0] for row in rows}


async def still_there(stays: Collection[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
    """Those of these conversations and people that are together now: the person is a member. Raises StorageUnavailable."""
    conversation_ids, user_ids = (uuids(column) for column in zip(*stays, strict=True))
    return {(row[0], row[1]) for row in await statements.rows(STILL_THERE, [conversation_ids, user_ids])}


async def callees(caller: Mailbox, conversation_id: UUID) -> list[Callee]:
    """Every other device of the members; the caller's own ones too. None for whoever is no member. Raises StorageUnavailable."""
    rows = await statements.rows(CALLED, [conversation_id, caller.user_id, caller.device_id])
    return [Callee(Mailbox(user_id, device_id), *standing) for user_id, device_id, *standing in rows]
