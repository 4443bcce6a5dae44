"""Who may be brought into a conversation: people who exist, do not block whoever brings them, and are in fewer conversations than one may be in."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.conf import settings

from accounts.connections import Connection
from accounts.statements import ask
from accounts.wire.refusals import NotFound, TooLarge

# In one order for everybody, and before any conversation: two changes that need the same people never wait for each other in a circle.
_ALIVE = "id = ANY(%s) AND NOT EXISTS (SELECT FROM accounts_tombstone t WHERE t.user_id = accounts_user.id)"
LOCK = f"SELECT id FROM accounts_user WHERE {_ALIVE} ORDER BY id FOR NO KEY UPDATE"  # noqa: S608  (constants)
READ = f"SELECT id FROM accounts_user WHERE {_ALIVE}"  # noqa: S608
# Read after the lock: changing a block takes the same one.
BLOCKING = "SELECT user_id FROM accounts_relationship WHERE user_id = ANY(%s) AND other_id = %s AND stance = 'blocking'"
BUSY = """
SELECT user_id FROM conversations_member WHERE user_id = ANY(%s) AND left_seq IS NULL GROUP BY user_id HAVING count(*) >= %s
"""


class Invitees(msgspec.Struct, frozen=True):
    """What is known of the people asked for: those who exist for the one who asks, and those who are in too many conversations."""

    known: frozenset[UUID]
    busy: frozenset[UUID]

    def require_known(self, user_ids: Iterable[UUID]) -> None:
        """Raise NotFound if one of them does not exist."""
        unknown = sorted(str(user_id) for user_id in user_ids if user_id not in self.known)
        if unknown:
            raise NotFound(user_ids=unknown)

    def require_room(self) -> None:
        """Raise TooLarge if somebody is in too many conversations."""
        if self.busy:
            raise TooLarge("Somebody is in as many conversations as one may be in.", limit="conversations", max=_most())


NOBODY = Invitees(frozenset(), frozenset())


async def read(conn: Connection, actor_id: UUID, user_ids: Sequence[UUID], *, locking: bool) -> Invitees:
    """What the actor may know of these people. `locking`: it stays true, and so does the list of their devices, until the transaction ends."""
    if not user_ids:
        return NOBODY
    async with conn.pipeline():
        found = await ask(conn, LOCK if locking else READ, [list(user_ids)])
        blocking = await ask(conn, BLOCKING, [list(user_ids), actor_id])
        most = _most()
        busy = await ask(conn, BUSY, [list(user_ids), most]) if most else None
    unseen = await _ids(blocking)
    return Invitees(await _ids(found) - unseen, await _ids(busy) - unseen if busy else frozenset())


async def _ids(cursor: psycopg.AsyncCursor[Any]) -> frozenset[UUID]:
    return frozenset(row[0] for row in await cursor.fetchall())


def _most() -> int:
    [most] = settings.LIMITS["CONVERSATIONS_PER_USER"]
    return most
