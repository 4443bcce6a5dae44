"""Changes of a conversation that are no messages: who is in it, who may do what, how it is called.

Each is one PostgreSQL transaction that takes the row lock a send takes, reads audience and clock after it, decides, and writes member rows and system
entries together. So before and after a change is a fact of the log: whoever is in the audience of an entry gets it, nobody else does.

Why no device is left without its start, though people sign in while they are added. Starts are written under the conversation's lock only. A new
member's devices are read after it: those that are active get their start with `member_added`. One that is registered later has none, so the next
entry of the conversation finds it in the audience without a start and begins with its `device_linked`. A person's row is locked (before the
conversation, as everywhere) while they are added, so their list of devices is read before or after a registration, never in between. Leaving deletes
all starts of a person's devices there, also those planned a moment ago; coming back begins anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from accounts import postgresql
from accounts.connections import Connection
from accounts.statements import ask, tell
from accounts.wire.refusals import NotFound, StorageUnavailable
from conversations import invitees, log, planning
from conversations.allocation import Head, Moment
from conversations.audience import AUDIENCE, Audience, AudienceDevice, audiences
from conversations.catching_up import catch_up
from conversations.entries import LogEntry
from conversations.invitees import Invitees
from conversations.planning import Plan, Reading
from conversations.sends import Sender
from conversations.turns import turn

# Most entries that one change writes beside one for each person it brings in.
OWN_ENTRIES = 4
# Envelopes addressed by one change without leaving the loop: a few milliseconds.
MOST_ON_THE_LOOP = 5_000

DESCRIPTION = "SELECT name, avatar, metadata FROM conversations_conversation WHERE id = %s"
# In the shape of AUDIENCE. Nobody outside a conversation has a start in it: leaving deletes them.
NEWCOMERS = """
SELECT %s::uuid, d.user_id, 'member', d.id, d.registration_id, d.device_number, d.active, d.mailbox_from, false, false
FROM devices_device d WHERE d.user_id = ANY(%s) AND d.active ORDER BY d.user_id, d.id
"""
JOIN = """
INSERT INTO conversations_member (conversation_id, user_id, role, joined_at, joined_seq, last_read_seq, pinned, archived)
SELECT %s, user_id, role, clock_timestamp(), joined_seq, joined_seq - 1, false, false
FROM unnest(%s::uuid[], %s::text[], %s::bigint[]) AS n (user_id, role, joined_seq)
"""
LEAVE = "UPDATE conversations_member SET left_seq = %s WHERE conversation_id = %s AND user_id = %s AND left_seq IS NULL"
GIVE_ROLE = "UPDATE conversations_member SET role = %s WHERE conversation_id = %s AND user_id = %s AND left_seq IS NULL"
HIDE = "UPDATE conversations_member SET hidden_at_seq = %s WHERE conversation_id = %s AND user_id = %s AND left_seq IS NULL"
DESCRIBE = "UPDATE conversations_conversation SET name = %s, avatar = %s, metadata = %s WHERE id = %s"
ARCHIVE = "UPDATE conversations_conversation SET archived_at = clock_timestamp() WHERE id = %s"

Result = TypeVar("Result")


class Behind(Exception):
    """The conversation has to catch up with its store before anything is written."""


class Description(msgspec.Struct, frozen=True):
    """How a group is called and shown."""

    name: str = ""
    avatar: UUID | None = None
    metadata: dict[str, Any] | None = None


class Join(msgspec.Struct, frozen=True):
    """A stay begins."""

    user_id: UUID
    role: str
    joined_seq: int


class Change(Plan):
    """What a change is going to write: entries and starts like any plan, and rows about members and the conversation."""

    joins: list[Join] = []
    departures: list[tuple[UUID, int]] = []
    roles: dict[UUID, str] = {}
    hidden_at: int | None = None
    description: Description | None = None
    archives: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self.entries and not self.departures and self.hidden_at is None


class Scene(msgspec.Struct):
    """What a change finds, and what it makes of it. Decisions read it, write into `made`, and touch nothing else."""

    actor: Sender
    head: Head
    audience: Audience
    description: Description
    invitees: Invitees
    newcomers: dict[UUID, dict[int, AudienceDevice]]
    moment: Moment
    made: Change

    def begin(self) -> None:
        """Devices linked and unlinked since the last entry come first, as before a send."""
        planning.write_device_changes(self.head, self.audience, self.moment, self.made)

    def say(self, event: str, **facts: Any) -> int:
        """Write a system entry for everybody who is in the audience now. Its seq."""
        entry = planning.system_entry(event, facts, self.head, self.audience, self.moment, self.made, actor=self.actor)
        self.made.entries.append(entry)
        return entry.seq


class Decision(msgspec.Struct, frozen=True):
    """A change in two steps, both pure: `check` raises what is refused, `act` does what was not."""

    check: Callable[[Scene], None]
    act: Callable[[Scene], None]
    # Whom it may bring in.
    people: Sequence[UUID] = ()


async def change(actor: Sender, conversation_id: UUID, decision: Decision) -> None:
    """Do what was decided.

    Raises NotFound for whoever is not a member, what `check` raises, and StorageUnavailable when the row is not free within 2 s.
    """
    await rehearse(actor, conversation_id, decision)
    await commit(actor, conversation_id, decision)


async def rehearse(actor: Sender, conversation_id: UUID, decision: Decision) -> None:
    """Raise what would be refused now. Locks nothing: whoever may not change a conversation cannot make it wait either."""
    async with postgresql.connection() as conn:
        decision.check(await _scene(conn, actor, conversation_id, decision.people, locking=False))


async def commit(actor: Sender, conversation_id: UUID, decision: Decision) -> None:
    """Decide under the lock, write, announce."""

    async def transaction() -> Sequence[LogEntry]:
        async with postgresql.deciding() as conn:
            scene = await _scene(conn, actor, conversation_id, decision.people, locking=True)
            decision.check(scene)
            await _act(decision, scene)
            await _write(conn, scene)
            return scene.made.entries

    async with turn(conversation_id):
        try:
            entries = await once_more(transaction)
        except Behind:
            await catch_up(conversation_id)
            entries = await once_more(transaction)
    announce(entries)


async def _act(decision: Decision, scene: Scene) -> None:
    """Adding a hundred people to a large group addresses more than a hundred thousand envelopes: the loop does not wait for that."""
    devices = len(scene.audience.devices) + sum(map(len, scene.newcomers.values()))
    if len(decision.people) * devices > MOST_ON_THE_LOOP:
        await asyncio.to_thread(decision.act, scene)
    else:
        decision.act(scene)


async def once_more(transaction: Callable[[], Awaitable[Result]]) -> Result:
    """The transaction's result. One that lost against a rival is tried a second time; raises StorageUnavailable if that does not help."""
    try:
        return await transaction()
    except log.RIVALRY:
        pass
    except postgresql.OF_THE_STATEMENT as failure:
        raise StorageUnavailable from failure
    try:
        return await transaction()
    except postgresql.OF_THE_STATEMENT as failure:
        raise StorageUnavailable from failure


def announce(entries: Sequence[LogEntry]) -> None:
    """These are committed: whoever relays in this process takes them. Nothing that fails there concerns the change."""
    if entries:
        log.appended.send_robust(sender=Change, entries=tuple(entries))


async def _scene(
    conn: Connection, actor: Sender, conversation_id: UUID, people: Sequence[UUID], *, locking: bool
) -> Scene:
    """The scene as it is now; `locking`, as it stays until the transaction ends: people first, then the conversation, all else read after that."""
    if locking:
        await conn.execute("BEGIN")
    known = await invitees.read(conn, actor.user_id, people, locking=locking)
    async with conn.pipeline():
        head = await ask(conn, log.LOCK_WAITING if locking else log.READ, [[conversation_id]])
        now = await ask(conn, log.MOMENT, [len(people) + OWN_ENTRIES + log.SPARE_SERIALS]) if locking else None
        audience = await ask(conn, AUDIENCE, [[conversation_id]])
        description = await ask(conn, DESCRIPTION, [conversation_id])
        newcomers = await ask(conn, NEWCOMERS, [conversation_id, list(people)])
    found = audiences(await audience.fetchall())
    if conversation_id not in found or actor.user_id not in found[conversation_id].roles:
        raise NotFound
    reading = Reading(
        heads={row[0]: Head(*row) for row in await head.fetchall()},
        audiences=found,
        known={},
        targets={},
        moment=await log.the_moment(now) if now else _NEVER,
    )
    if locking:
        if reading.heads[conversation_id].era < reading.moment.era:
            raise Behind
        await log.enough_serials(conn, reading)
    return Scene(
        actor=actor,
        head=reading.heads[conversation_id],
        audience=found[conversation_id],
        description=Description(*(await description.fetchall())[0]),
        invitees=known,
        newcomers=_by_person(await newcomers.fetchall(), conversation_id),
        moment=reading.moment,
        made=Change(),
    )


# Nothing is written by a scene that was not locked.
_NEVER = Moment(0, 0, iter(()))


def _by_person(rows: Sequence[Sequence[Any]], conversation_id: UUID) -> dict[UUID, dict[int, AudienceDevice]]:
    arriving = audiences(rows).get(conversation_id)
    people: dict[UUID, dict[int, AudienceDevice]] = {}
    for device in arriving.devices.values() if arriving else ():
        people.setdefault(device.user_id, {})[device.device_id] = device
    return people


async def _write(conn: Connection, scene: Scene) -> None:
    """Write and commit."""
    made, conversation_id = scene.made, scene.head.conversation_id
    if made.is_empty:
        await conn.execute("ROLLBACK")
        return
    async with conn.pipeline():
        if made.joins:
            await tell(conn, JOIN, [conversation_id, *_join_columns(made.joins)])
        for user_id, role in made.roles.items():
            await tell(conn, GIVE_ROLE, [role, conversation_id, user_id])
        for user_id, left_seq in made.departures:
            await tell(conn, LEAVE, [left_seq, conversation_id, user_id])
        if made.hidden_at is not None:
            await tell(conn, HIDE, [made.hidden_at, conversation_id, scene.actor.user_id])
        if made.description is not None:
            await tell(conn, DESCRIBE, [*described(made.description), conversation_id])
        if made.archives:
            await tell(conn, ARCHIVE, [conversation_id])
    if made.entries:
        await log.write(conn, made, [scene.head])
    else:
        await conn.execute("COMMIT")


def _join_columns(joins: Iterable[Join]) -> list[list[Any]]:
    rows = [(join.user_id, join.role, join.joined_seq) for join in joins]
    return [list(column) for column in zip(*rows, strict=True)]


def described(description: Description) -> tuple[str, UUID | None, Jsonb | None]:
    """The columns name, avatar and metadata."""
    metadata = None if description.metadata is None else Jsonb(description.metadata)
    return description.name, description.avatar, metadata
