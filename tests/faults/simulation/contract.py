"""What PostgreSQL does for the service, as far as the guarantee rests on it: scenes that hold on the real one and on the simulated one alike.

Everything goes through the service's own functions. A scene gets a `Party`; what the backend has to provide beside PostgreSQL is in `Backend`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from accounts import postgresql, statements
from accounts.ids import uuid7
from accounts.wire.refusals import Forbidden, MismatchedDevices, NotFound, StorageUnavailable
from conversations import access, ledger, log, membership, outbox
from conversations.sends import SKIPPED, Addressed, Send, Sender, Sent
from messaging import sessions

SOURCE = "default"
EVERYTHING = {"limit": 1000, "most_bytes": 10**9}


@dataclass
class Member:
    """A person's device."""

    user_id: UUID
    device_id: int
    number: int
    registration_id: int

    @property
    def sender(self) -> Sender:
        return Sender(self.user_id, self.device_id, self.number)


class Backend(Protocol):
    """What a scene cannot do through the hot road."""

    async def link(self, member: Member) -> Member:
        """Another device of the same person."""

    async def unlink(self, member: Member) -> None:
        """The device is no more."""

    async def keep_apart(self, conversation_id: UUID) -> None:
        """One of the two people of the conversation has blocked the other."""


@dataclass
class Party:
    """Alice founded a group with Bob; Carol knows nothing of it. Nobody has said anything."""

    backend: Backend
    group: UUID
    alice: Member
    bob: Member
    carol: Member

    def send(self, by: Member, *to: Member, mid: UUID | None = None) -> Send:
        return Send(
            conversation_id=self.group,
            sender=by.sender,
            client_message_id=mid or uuid7(),
            kind="message",
            messages=tuple(Addressed(one.device_id, one.registration_id, b"content") for one in to),
        )

    async def say(self, count: int = 1) -> list[Sent]:
        """Alice tells Bob something."""
        committed = await log.append([self.send(self.alice, self.bob) for _ in range(count)])
        return [outcome for outcome in committed.outcomes if isinstance(outcome, Sent)]


async def a_send_gets_the_next_place_once(party: Party) -> None:
    send = party.send(party.alice, party.bob)
    [first] = (await log.append([send])).outcomes
    [again, other] = (await log.append([send, party.send(party.alice, party.bob)])).outcomes
    assert isinstance(first, Sent)
    assert isinstance(again, Sent)
    assert isinstance(other, Sent)
    assert (first.seq, first.duplicate, again.seq, again.duplicate, again.message_id) == (
        1,
        False,
        1,
        True,
        first.message_id,
    )
    assert other.seq == 2
    assert other.message_id > first.message_id


async def what_is_committed_waits_in_the_outbox_for_its_members_alone(party: Party) -> None:
    await party.say(3)
    of_bob = await outbox.of_user(party.bob.user_id, after=outbox.Place(), **EVERYTHING)
    assert [row.entry.seq for row in of_bob.rows if row.entry] == [1, 2, 3]
    assert of_bob.is_all
    some = await outbox.of_user(party.bob.user_id, after=of_bob.rows[0].place, limit=1, most_bytes=10**9)
    assert ([row.entry.seq for row in some.rows if row.entry], some.is_all) == ([2], False)
    assert (await outbox.of_user(party.carol.user_id, after=outbox.Place(), **EVERYTHING)).rows == []
    assert [entry.seq for entry in await outbox.of_conversation(party.group, 2, 3)] == [2, 3]


async def nobody_claims_what_its_writer_has_just_claimed(party: Party) -> None:
    await party.say()
    assert await outbox.claim(SOURCE, limit=10) == ([], [])


async def what_was_released_is_anybodys_in_a_moment(party: Party) -> None:
    await party.say(2)
    await outbox.release([(party.group, 1), (party.group, 7)])
    async with asyncio.timeout(outbox.RELEASED_SECONDS + 10):
        while not (claimed := await outbox.claim(SOURCE, limit=10)).entries:  # noqa: ASYNC110  (asked again)
            await asyncio.sleep(0.1)
    assert [entry.seq for entry in claimed.entries] == [1]


async def the_watermark_stands_at_the_oldest_undeposited_entry(party: Party) -> None:
    before = (await outbox.watermark(SOURCE, party.bob.user_id)).position
    await party.say()
    [entry] = await outbox.of_conversation(party.group, 1, 1)
    assert before <= entry.position
    await _watermark_becomes(party.bob, lambda position: position == entry.position)
    assert (await outbox.watermark(SOURCE, party.bob.user_id)).oldest_kept_ms == entry.kept_ms
    await outbox.done([(party.group, 1)])
    await _watermark_becomes(party.bob, lambda position: position > entry.position)


async def the_watermark_stands_below_whoever_has_not_committed(party: Party) -> None:
    async with postgresql.deciding() as conn:
        await conn.execute("BEGIN")
        [row] = await (await statements.ask(conn, log.MOMENT, [1])).fetchall()
        await party.say()
        await outbox.done([(party.group, 1)])
        assert (await outbox.watermark(SOURCE, party.bob.user_id)).position <= row[1]
        await conn.execute("ROLLBACK")
    await _watermark_becomes(party.bob, lambda position: position > row[1])


async def what_was_set_aside_holds_back_its_recipients_only(party: Party) -> None:
    await party.say()
    [entry] = await outbox.of_conversation(party.group, 1, 1)
    await outbox.set_aside([(party.group, 1)], reason="a test")
    await _watermark_becomes(party.bob, lambda position: position == entry.position)
    await _watermark_becomes(party.carol, lambda position: position > entry.position)


async def _watermark_becomes(member: Member, good: Callable[[int], bool]) -> None:
    """Whatever is open anywhere on the server holds it back, also in databases that the scene knows nothing of."""
    async with asyncio.timeout(10):
        while not good((await outbox.watermark(SOURCE, member.user_id)).position):  # noqa: ASYNC110  (asked again)
            await asyncio.sleep(0.02)


async def a_held_row_is_skipped_or_waited_for(party: Party) -> None:
    send = party.send(party.alice, party.bob)
    async with postgresql.deciding() as conn:
        await conn.execute("BEGIN")
        await statements.ask(conn, log.LOCK_WAITING, [[party.group]])
        assert (await log.append([send])).outcomes == (SKIPPED,)
        waiting = asyncio.ensure_future(log.append([send], waiting=True))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await conn.execute("ROLLBACK")
    [sent] = (await waiting).outcomes
    assert isinstance(sent, Sent)
    assert sent.seq == 1


async def who_waits_too_long_for_a_row_is_told_so(party: Party) -> None:
    async with postgresql.deciding() as conn:
        await conn.execute("BEGIN")
        await statements.ask(conn, log.LOCK_WAITING, [[party.group]])
        [outcome] = (await log.append([party.send(party.alice, party.bob)], waiting=True)).outcomes
        assert isinstance(outcome, StorageUnavailable)
        await conn.execute("ROLLBACK")
    assert [sent.seq for sent in await party.say()] == [1]


async def what_is_rolled_back_never_was(party: Party) -> None:
    async with postgresql.deciding() as conn:
        await conn.execute("BEGIN")
        await statements.ask(conn, log.LOCK_WAITING, [[party.group]])
    # The connection came back with a transaction open; nothing of it holds the row.
    assert [sent.seq for sent in await party.say()] == [1]


async def a_linked_device_has_to_be_addressed_and_is_named_in_the_log(party: Party) -> None:
    await party.say()
    tablet = await party.backend.link(party.bob)
    [refused] = (await log.append([party.send(party.alice, party.bob)])).outcomes
    assert isinstance(refused, MismatchedDevices)
    committed = await log.append([party.send(party.alice, party.bob, tablet)])
    assert [(entry.seq, (entry.system or {}).get("event")) for entry in committed.entries] == [
        (2, "device_linked"),
        (3, None),
    ]
    assert {recipient.device_id for recipient in committed.entries[0].recipients} >= {tablet.device_id}
    await party.backend.unlink(tablet)
    committed = await log.append([party.send(party.alice, party.bob)])
    assert [(entry.system or {}).get("event") for entry in committed.entries] == ["device_unlinked", None]


async def who_was_removed_hears_that_and_nothing_after_it(party: Party) -> None:
    await party.say()
    await membership.remove(party.alice.sender, party.group, party.bob.user_id)
    [refused] = (await log.append([party.send(party.bob, party.alice)])).outcomes
    assert isinstance(refused, NotFound)
    [sent] = (await log.append([party.send(party.alice)])).outcomes
    assert isinstance(sent, Sent)
    assert sent.seq == 3
    seen = await outbox.of_user(party.bob.user_id, after=outbox.Place(), **EVERYTHING)
    assert [row.entry.seq for row in seen.rows if row.entry] == [1, 2]


async def a_change_waits_for_the_row_too(party: Party) -> None:
    async with postgresql.deciding() as conn:
        await conn.execute("BEGIN")
        await statements.ask(conn, log.LOCK_WAITING, [[party.group]])
        removing = asyncio.ensure_future(membership.remove(party.alice.sender, party.group, party.bob.user_id))
        await asyncio.sleep(0.3)
        assert not removing.done()
        await conn.execute("ROLLBACK")
    await removing
    assert len(await ledger.facts(party.group, 1, 10)) == 1


async def a_log_is_seen_within_the_stays_of_its_reader(party: Party) -> None:
    await party.say(2)
    view = await access.access_log(party.bob.user_id, party.bob.device_id, party.group)
    assert (view.head, view.start, [(stay.first) for stay in view.stays]) == (2, 1, [1])
    facts = await ledger.facts(party.group, 1, 5)
    assert {seq: fact.sender_device_id for seq, fact in facts.items()} == dict.fromkeys([1, 2], party.alice.device_id)
    try:
        await access.access_log(party.carol.user_id, party.carol.device_id, party.group)
    except NotFound:
        return
    raise AssertionError("Carol saw a conversation of others")


async def who_is_blocked_commits_nothing_more(party: Party) -> None:
    await party.say()
    await party.backend.keep_apart(party.group)
    committed = await log.append([party.send(party.alice, party.bob), party.send(party.bob, party.alice)])
    assert [type(outcome) for outcome in committed.outcomes] == [Forbidden, Forbidden]
    view = await access.access_log(party.bob.user_id, party.bob.device_id, party.group)
    assert view.head == 1


async def the_newest_socket_of_a_device_wins(party: Party) -> None:
    bob = party.bob
    first = await sessions.open_session(bob.user_id, bob.device_id, bob.number, bob.registration_id)
    assert (await sessions.standing(first)).closing_code is None
    second = await sessions.open_session(bob.user_id, bob.device_id, bob.number, bob.registration_id)
    assert second.conn_id > first.conn_id
    standings = [await sessions.standing(session) for session in (first, second)]
    assert [(standing.closing_code, standing.wants_prekeys) for standing in standings] == [(4409, False), (None, False)]


Scene = Callable[[Party], Awaitable[None]]
SCENES: tuple[Scene, ...] = (
    a_send_gets_the_next_place_once,
    what_is_committed_waits_in_the_outbox_for_its_members_alone,
    nobody_claims_what_its_writer_has_just_claimed,
    what_was_released_is_anybodys_in_a_moment,
    the_watermark_stands_at_the_oldest_undeposited_entry,
    the_watermark_stands_below_whoever_has_not_committed,
    what_was_set_aside_holds_back_its_recipients_only,
    a_held_row_is_skipped_or_waited_for,
    who_waits_too_long_for_a_row_is_told_so,
    what_is_rolled_back_never_was,
    a_linked_device_has_to_be_addressed_and_is_named_in_the_log,
    who_was_removed_hears_that_and_nothing_after_it,
    a_change_waits_for_the_row_too,
    a_log_is_seen_within_the_stays_of_its_reader,
    who_is_blocked_commits_nothing_more,
    the_newest_socket_of_a_device_wins,
)
