"""New conversations."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import sync_to_async

from accounts import postgresql
from accounts.connections import Connection
from accounts.ids import uuid7
from accounts.limits import Limit, WithoutRedis, spend
from accounts.positions import POSITION
from accounts.statements import ask, tell
from accounts.wire.refusals import InvalidRequest
from conversations import blocks, invitees, log, planning, sources
from conversations.allocation import Head
from conversations.audience import AUDIENCE, audiences
from conversations.changes import JOIN, Change, Description, announce, described, once_more
from conversations.entries import LogEntry
from conversations.invitees import Invitees
from conversations.membership import DIRECT, MEMBER, OWNER, require_room
from conversations.models import Conversation
from conversations.sends import Sender
from conversations.turns import turn

NEW_CONVERSATIONS = Limit("CONVERSATIONS_PER_HOUR", 3600, WithoutRedis.COUNT_HERE)

GROUP = Conversation.Kind.GROUP.value
# A conversation founded in this era has nothing to catch up with.
FOUND = f"""
INSERT INTO conversations_conversation (id, kind, name, avatar, metadata, direct_low, direct_high, created_at, source, source_since_seq, next_seq,
                                        last_message_id, last_position, last_kept_ms, last_kind)
VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp(), 'default', 1, 1, 0, {POSITION}, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, '')
"""  # noqa: S608  (constants)
# Of two who are both members: one whose account was deleted is not any more.
DIRECT_OF = """
SELECT c.id FROM conversations_conversation c WHERE c.direct_low = %s AND c.direct_high = %s
AND 2 = (SELECT count(*) FROM conversations_member m WHERE m.conversation_id = c.id AND m.left_seq IS NULL)
"""


class NewGroup(msgspec.Struct, frozen=True):
    """A group as somebody wants it. Its founder is a member, named or not."""

    description: Description
    member_ids: frozenset[UUID]


async def found_group(founder: Sender, wanted: NewGroup) -> UUID:
    """A new group: its founder owns it, and `conversation_created` is its seq 1. Asked twice, there are two.

    Raises NotFound for people who do not exist, TooLarge, RateLimited.
    """
    people = sorted({founder.user_id, *wanted.member_ids})
    _check(await _known(founder, people), people)
    await sync_to_async(spend)(NEW_CONVERSATIONS, str(founder.user_id))

    async def transaction() -> LogEntry:
        async with postgresql.deciding() as conn:
            await _invite(conn, founder, people)
            return await _found_group(conn, founder, wanted.description, people)

    async with turn(founder.user_id):
        entry = await once_more(transaction)
    announce([entry])
    return entry.conversation_id


async def open_direct(founder: Sender, peer_id: UUID) -> tuple[UUID, bool]:
    """The direct conversation of the two, and whether it is new. It starts with its first message. Both may ask at once: there is one.

    Raises InvalidRequest for oneself, NotFound, TooLarge, RateLimited.
    """
    if peer_id == founder.user_id:
        raise InvalidRequest("A conversation has two sides.", field="user_id")
    pair = sorted((founder.user_id, peer_id))
    known = await _known(founder, pair)
    known.require_known(pair)
    there = await _find_direct(pair)
    if there is not None:
        return there, False
    _check(known, pair)
    await sync_to_async(spend)(NEW_CONVERSATIONS, str(founder.user_id))

    async def transaction() -> tuple[UUID, bool]:
        async with postgresql.deciding() as conn:
            return await _open_direct(conn, founder, pair)

    async with turn(founder.user_id):
        return await once_more(transaction)


async def _known(founder: Sender, people: Sequence[UUID]) -> Invitees:
    """For refusing early what will be refused: before it costs a try, and without locking anybody."""
    async with postgresql.connection() as conn:
        return await invitees.read(conn, founder.user_id, people, locking=False)


async def _invite(conn: Connection, founder: Sender, people: Sequence[UUID]) -> None:
    """Begin the transaction with these people locked."""
    await conn.execute("BEGIN")
    _check(await invitees.read(conn, founder.user_id, people, locking=True), people)


def _check(known: Invitees, people: Sequence[UUID]) -> None:
    known.require_known(people)
    require_room(len(people))
    known.require_room()


async def _found_group(conn: Connection, founder: Sender, description: Description, people: Sequence[UUID]) -> LogEntry:
    conversation_id = uuid7()
    roles = [OWNER if user_id == founder.user_id else MEMBER for user_id in people]
    async with conn.pipeline():
        await tell(conn, FOUND, [conversation_id, GROUP, *described(description), None, None])
        await tell(conn, JOIN, [conversation_id, list(people), roles, _from_the_start(people)])
        now = await ask(conn, log.MOMENT, [1])
        audience = await ask(conn, AUDIENCE, [[conversation_id]])
    head = Head(conversation_id, GROUP, sources.DEFAULT, 1, 0, 0)
    everybody = audiences(await audience.fetchall())[conversation_id]
    made = Change()
    facts = {"user_ids": [str(user_id) for user_id in people]}
    entry = planning.system_entry(
        "conversation_created", facts, head, everybody, await log.the_moment(now), made, actor=founder
    )
    made.entries.append(entry)
    await log.write(conn, made, [head])
    return entry


async def _open_direct(conn: Connection, founder: Sender, pair: Sequence[UUID]) -> tuple[UUID, bool]:
    # Both people are locked: whoever opened it meanwhile has committed, and is seen by what is read next.
    await _invite(conn, founder, pair)
    there = await _direct_of(conn, pair)
    if there is not None:
        return there, False
    conversation_id = uuid7()
    async with conn.pipeline():
        await tell(conn, FOUND, [conversation_id, DIRECT, *described(Description()), *pair])
        await tell(conn, blocks.MARK, pair)
        await tell(conn, JOIN, [conversation_id, list(pair), [MEMBER, MEMBER], _from_the_start(pair)])
        await conn.execute("COMMIT")
    return conversation_id, True


async def _find_direct(pair: Sequence[UUID]) -> UUID | None:
    async with postgresql.connection() as conn:
        return await _direct_of(conn, pair)


async def _direct_of(conn: Connection, pair: Sequence[UUID]) -> UUID | None:
    found: list[Any] = await (await ask(conn, DIRECT_OF, list(pair))).fetchall()
    return found[0][0] if found else None


def _from_the_start(people: Iterable[UUID]) -> list[int]:
    return [1 for _ in people]
