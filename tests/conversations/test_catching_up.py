"""A conversation whose head was taken back goes on above what its store has."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from accounts.wire.refusals import StorageUnavailable
from conversations import catching_up, log, membership
from conversations.access import access_log
from conversations.allocation import Newest
from conversations.catching_up import SPARE_SEQS, catch_up
from conversations.models import Conversation, LostRange
from conversations.sends import SKIPPED, Sent
from messaging.group_commit import GroupCommit
from tests.cast import Installation
from tests.conversations_of import direct, send, sender

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]
STORED = Newest(seq=40, message_id=2**60)


@pytest.fixture
def stored() -> Iterator[list[int]]:
    """A store that has forty entries of every conversation; what it was asked for."""
    before, asked = list(catching_up._ask), []

    async def newest(conversation_id: UUID, at_least: int) -> Newest:
        del conversation_id
        asked.append(at_least)
        return STORED if at_least < STORED.seq else Newest(at_least)

    catching_up.ask_stores_with(newest)
    yield asked
    catching_up._ask[:] = before


@sync_to_async
def taken_back(first: Installation, second: Installation) -> UUID:
    """A conversation as an earlier era has left it."""
    conversation_id = direct(first, second)
    Conversation.objects.filter(pk=conversation_id).update(last_position=5, next_seq=8)
    return conversation_id


async def test_nothing_is_appended_to_a_conversation_of_an_earlier_era(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    conversation = await taken_back(alice_phone, bob_phone)
    committed = await log.append([send(conversation, alice_phone, [bob_phone])])
    assert committed.outcomes == (SKIPPED,)
    assert committed.behind == {conversation}


async def test_a_send_goes_on_above_what_the_store_has(
    alice_phone: Installation, bob_phone: Installation, stored: list[int]
) -> None:
    conversation = await taken_back(alice_phone, bob_phone)
    commits = GroupCommit(log.append, lambda _: None)
    outcomes = [await commits.submit(send(conversation, alice_phone, [bob_phone])) for _ in range(2)]
    await commits.close()
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Sent)][-1] > STORED.seq + 1
    first, second = (outcome for outcome in outcomes if isinstance(outcome, Sent))
    assert STORED.message_id < first.message_id < second.message_id
    assert stored == [7], "the store is asked once, about what PostgreSQL knows"


async def test_what_lies_between_is_lost_and_never_shown(
    alice_phone: Installation, bob_phone: Installation, stored: list[int]
) -> None:
    conversation = await taken_back(alice_phone, bob_phone)
    await catch_up(conversation)
    await catch_up(conversation)
    [lost] = [one async for one in LostRange.objects.filter(conversation_id=conversation)]
    assert (lost.from_seq, lost.to_seq) == (8, STORED.seq)
    view = await access_log(UUID(alice_phone.user_id), int(alice_phone.device_id), conversation)
    assert view.head == STORED.seq
    assert [(span.first, span.last) for span in view.spans(1, 100)] == [(1, 7)]
    assert [(span.first, span.last) for span in view.spans(20, 30)] == []
    assert [seq for seq in range(1, 50) if view.is_lost(seq)] == list(range(8, 41))


async def test_after_an_accepted_restore_some_more_are_left_out(
    alice_phone: Installation, bob_phone: Installation, stored: list[int]
) -> None:
    conversation = await taken_back(alice_phone, bob_phone)
    await _restored_in(1)
    try:
        await catch_up(conversation)
    finally:
        await _restored_in(0)
    assert (await Conversation.objects.aget(pk=conversation)).next_seq == STORED.seq + 1 + SPARE_SEQS


@sync_to_async
def _restored_in(era: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_era SET restored_era = %s", [era])


async def test_a_conversation_nothing_was_lost_of_goes_on_without_a_gap(
    alice_phone: Installation, bob_phone: Installation, stored: list[int]
) -> None:
    conversation = await taken_back(alice_phone, bob_phone)
    await Conversation.objects.filter(pk=conversation).aupdate(next_seq=STORED.seq + 1)
    await catch_up(conversation)
    assert (await Conversation.objects.aget(pk=conversation)).next_seq == STORED.seq + 1
    assert not await LostRange.objects.filter(conversation_id=conversation).aexists()


async def test_sends_wait_for_a_store_that_does_not_answer_and_are_refused_in_time(
    alice_phone: Installation, bob_phone: Installation, stored: list[int]
) -> None:
    async def newest(conversation_id: UUID, at_least: int) -> Newest:
        del conversation_id, at_least
        raise StorageUnavailable

    catching_up.ask_stores_with(newest)
    conversation = await taken_back(alice_phone, bob_phone)
    commits = GroupCommit(log.append, lambda _: None)
    outcome = await commits.submit(send(conversation, alice_phone, [bob_phone]))
    await commits.close()
    assert isinstance(outcome, StorageUnavailable)


async def test_a_change_catches_up_as_well(
    alice_phone: Installation, bob_phone: Installation, stored: list[int]
) -> None:
    conversation = await taken_back(alice_phone, bob_phone)
    await Conversation.objects.filter(pk=conversation).aupdate(kind="group", direct_low=None, direct_high=None)
    await membership.leave(sender(bob_phone), conversation)
    assert (await Conversation.objects.aget(pk=conversation)).next_seq > STORED.seq + 1
