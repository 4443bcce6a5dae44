"""The ledger forgets, and nobody is the worse for it."""

import random
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction

from accounts import chores
from accounts.ids import uuid7
from accounts.models import User
from conversations import inbox, tallies
from conversations.models import Conversation, LedgerFloor, LedgerRow, Member, OutboxRow, Tally
from conversations.pruning import LEDGER
from tests.aging import age, days_ago, forget, row
from tests.callers import Caller, message
from tests.cast import any_phone_number

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("many", "unlimited"),
]


@sync_to_async
def seqs(conversation: str) -> list[int]:
    return list(LedgerRow.objects.filter(conversation_id=conversation).order_by("seq").values_list("seq", flat=True))


async def unread(who: Caller, conversation: str) -> int:
    return int((await who.get(f"conversations/{conversation}")).body["unread_count"])


async def read_up_to(who: Caller, seq: int) -> None:
    await sync_to_async(Member.objects.filter(user_id=who.user_id).update)(last_read_seq=seq)


async def clear_tallies() -> int:
    async def keep() -> None:
        pass

    return await chores.do(tallies.TALLIES, keep)


@pytest.fixture
async def six(alice: Caller, bob: Caller) -> str:
    """Six messages from Alice to Bob, the first four of them sixteen days old."""
    conversation = await alice.direct(bob)
    for _ in range(6):
        await alice.said(conversation, bob)
    await sync_to_async(OutboxRow.objects.all().delete)()
    await age(conversation, range(1, 5), days=16)
    return conversation


async def test_rows_older_than_fifteen_days_go_and_younger_ones_stay(alice: Caller, bob: Caller, six: str) -> None:
    await age(six, [5], days=14.9)
    assert await forget() == 4
    assert await seqs(six) == [5, 6]
    assert await forget() == 0


async def test_a_row_whose_message_is_not_in_the_store_yet_stays(alice: Caller, bob: Caller, six: str) -> None:
    waiting = OutboxRow(
        conversation_id=six, seq=2, position=1, kept_ms=1, claimed_until="2100-01-01T00:00Z", size=1, bundle=b"x"
    )
    await sync_to_async(waiting.save)(force_insert=True)
    assert await forget() == 3
    assert await seqs(six) == [2, 5, 6]


async def test_a_row_whose_key_is_from_the_future_stays_until_that_key_is_too_old(
    alice: Caller, bob: Caller, six: str
) -> None:
    ahead = LedgerRow.objects.filter(conversation_id=six, seq=3)
    await sync_to_async(ahead.update)(client_message_id=uuid7(days_ago(14.5)))
    assert await forget() == 3
    assert await seqs(six) == [3, 5, 6]


async def test_a_repeated_send_has_its_first_place_until_it_is_refused(alice: Caller, bob: Caller) -> None:
    """Never a second place: 13 days old it is known, 14 refused, and the ledger forgets it at 15."""
    conversation = await alice.direct(bob)
    for number, (days, found) in enumerate([(13.9, 200), (14.1, 200), (15.1, 409)], 1):
        body = message(bob) | {"client_message_id": str(uuid7(days_ago(days)))}
        written = row(
            conversation,
            number,
            days=days,
            sender=UUID(alice.user_id),
            sender_device_id=int(alice.device.device_id),
            client_message_id=UUID(body["client_message_id"]),
        )
        await sync_to_async(written.save)(force_insert=True)
        await forget()
        answer = await alice.post(f"conversations/{conversation}/messages", body)
        assert (answer.status, answer.body.get("seq") or answer.code) == (
            found,
            number if found == 200 else "STALE_KEY",
        )


async def test_what_was_forgotten_by_a_clock_that_was_wrong_is_still_no_new_message(
    alice: Caller, bob: Caller, six: str
) -> None:
    """The clock was a month ahead when this was forgotten, and is right again."""
    body = message(bob) | {"client_message_id": str(uuid7(days_ago(2)))}
    await sync_to_async(LedgerFloor(id=1, made_ms=days_ago(1)).save)()
    assert (await alice.post(f"conversations/{six}/messages", body)).code == "STALE_KEY"
    await alice.said(six, bob)


async def test_the_floor_is_the_newest_key_that_was_forgotten(alice: Caller, bob: Caller, six: str) -> None:
    await forget()
    floor = await sync_to_async(LedgerFloor.objects.get)()
    assert days_ago(16.1) < floor.made_ms < days_ago(15.9)


async def test_a_message_that_comes_after_one_that_is_forgotten_may_be_sent(
    alice: Caller, bob: Caller, six: str
) -> None:
    for days, status in ((13, 409), (15.5, 201)):
        after = {"after_client_message_id": str(uuid7(days_ago(days)))}
        assert (await alice.post(f"conversations/{six}/messages", message(bob) | after)).status == status


async def test_a_message_too_old_for_the_ledger_is_not_deleted_for_everybody(
    alice: Caller, bob: Caller, six: str
) -> None:
    old = await sync_to_async(LedgerRow.objects.get)(conversation_id=six, seq=4)
    await forget()
    refused = await alice.say(six, bob, deletes=str(old.message_id))
    assert (refused.status, refused.body["field"]) == (400, "deletes")
    assert "too old" in refused.body["error"]


async def test_who_has_not_read_what_is_forgotten_still_has_it_counted(alice: Caller, bob: Caller, six: str) -> None:
    assert await unread(bob, six) == 6
    await forget()
    counts = []
    for seq in range(7):
        await read_up_to(bob, seq)
        counts.append(await unread(bob, six))
    assert counts == [6, 5, 4, 3, 2, 1, 0]
    assert await unread(alice, six) == 0


async def test_what_everybody_has_read_leaves_nothing_behind(alice: Caller, bob: Caller, six: str) -> None:
    await read_up_to(bob, 4)
    await forget()
    assert await Tally.objects.acount() == 0


async def test_a_tally_goes_when_everybody_has_read_its_block(alice: Caller, bob: Caller, six: str) -> None:
    await forget()
    assert (await Tally.objects.acount(), await clear_tallies()) == (1, 0)
    await read_up_to(bob, 1023)
    assert (await clear_tallies(), await Tally.objects.acount()) == (1, 0)


async def test_the_inbox_counts_as_if_nothing_had_been_forgotten(hot_road: None) -> None:
    """Random conversations, pruned in random steps, read to random places: always the count of the whole ledger."""
    for seed in range(6):
        await _compare(random.Random(seed))  # noqa: S311  (the same dice each time)


async def _compare(dice: random.Random) -> None:
    people = await sync_to_async(_people)(dice.randint(2, 4))
    conversation = await sync_to_async(_conversation)(people)
    first = dice.choice([1, 1000, 1020, 2040])
    facts = [_fact(dice, people) for _ in range(dice.choice([40, 2500]))]
    said = dict(enumerate(facts, first))
    days = sorted((dice.uniform(10, 30) for _ in said), reverse=True)
    rows = [row(conversation, seq, days=age, **said[seq]) for seq, age in zip(said, days, strict=True)]
    await sync_to_async(LedgerRow.objects.bulk_create)(rows)
    after, is_done = None, False
    while not is_done:
        for person in people:
            seq = dice.randint(0, max(said) + 1)
            mine = Member.objects.filter(conversation_id=conversation, user_id=person, last_read_seq__lt=seq)
            if dice.random() < 0.3:
                await sync_to_async(mine.update)(last_read_seq=seq)
            assert await _counted(person, conversation) == await _expected(person, conversation, said)
        if dice.random() < 0.3:
            await clear_tallies()
        chunk = await LEDGER.chunk(after, dice.choice([7, 300, 1000]))
        after, is_done = chunk.after, chunk.after is None
    for seq in sorted(dice.sample(range(max(said) + 2), 12)):
        await sync_to_async(Member.objects.filter(conversation_id=conversation, last_read_seq__lt=seq).update)(
            last_read_seq=seq
        )
        for person in people:
            assert await _counted(person, conversation) == await _expected(person, conversation, said)


def _fact(dice: random.Random, people: list[UUID]) -> dict[str, Any]:
    kind = dice.choice(["message"] * 8 + ["system", "key_distribution"])
    return {"sender": dice.choice(people), "kind": kind, "urgent": dice.random() < 0.9}


def _people(count: int) -> list[UUID]:
    return [User.objects.create_user(any_phone_number()).pk for _ in range(count)]


def _conversation(people: list[UUID]) -> UUID:
    conversation = Conversation.objects.create(id=uuid4(), kind="group")
    for person in people:
        Member.objects.create(conversation=conversation, user_id=person, joined_seq=1)
    return conversation.pk


@sync_to_async
def _counted(person: UUID, conversation: UUID) -> int:
    return inbox.one(person, conversation).unread


@sync_to_async
def _expected(person: UUID, conversation: UUID, said: dict[int, dict[str, Any]]) -> int:
    read = Member.objects.get(conversation_id=conversation, user_id=person).last_read_seq
    counted = [
        seq
        for seq, fact in said.items()
        if seq > read and fact["kind"] == "message" and fact["urgent"] and fact["sender"] != person
    ]
    return min(999, len(counted))


async def test_pruning_looks_for_old_rows_by_their_index(alice: Caller, bob: Caller, six: str) -> None:
    """A table of a million young rows must not be read to find out that none is old."""

    @sync_to_async
    def plan() -> str:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(
                "EXPLAIN SELECT * FROM conversations_ledger WHERE message_id > 5 AND message_id < 9 ORDER BY message_id LIMIT 5"
            )
            return "\n".join(line for [line] in cursor.fetchall())

    assert "ledger_message" in await plan()
