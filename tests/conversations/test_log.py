"""The log on a real PostgreSQL: append = commit."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from accounts import postgresql
from accounts.clocks import ClockGuard
from accounts.ids import uuid7
from accounts.models import User
from accounts.wire.refusals import (
    Forbidden,
    InvalidRequest,
    MismatchedDevices,
    NotFound,
    RetryInOrder,
    StaleDevices,
    StaleKey,
    StorageUnavailable,
    TooLarge,
)
from conversations import backlog, log, outbox
from conversations.entries import LogEntry
from conversations.models import Conversation, DeviceStart, LedgerRow, Member, OutboxRow
from conversations.outbox import Place
from conversations.sends import SKIPPED, Addressed, Sent
from tests.cast import Installation
from tests.conversations_of import PRESENT_ERA, direct, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


@pytest.fixture
def conversation(alice_phone: Installation, bob_phone: Installation) -> UUID:
    return direct(alice_phone, bob_phone)


@sync_to_async
def rows(model: Any) -> int:
    return int(model.objects.count())


async def test_a_send_gets_its_place_its_ledger_row_and_its_bundle(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    committed = await log.append([send(conversation, alice_phone, [bob_phone])])
    [sent] = committed.outcomes
    assert isinstance(sent, Sent)
    assert (sent.seq, sent.duplicate) == (1, False)
    [entry] = committed.entries
    [recipient] = entry.recipients
    assert (recipient.device_id, recipient.start, recipient.ciphertext) == (
        int(bob_phone.device_id),
        True,
        b"twenty bytes of text",
    )
    assert (await rows(LedgerRow), await rows(OutboxRow)) == (1, 1)
    assert await outbox.of_conversation(conversation, 1, 1) == [entry]


async def test_seqs_have_no_gaps_and_everything_rises_with_them(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    entries: list[LogEntry] = []
    for _ in range(5):
        batch = [send(conversation, alice_phone, [bob_phone]), send(conversation, bob_phone, [alice_phone])]
        entries += (await log.append(batch)).entries
    assert [entry.seq for entry in entries] == list(range(1, 11))
    assert sorted({entry.message_id for entry in entries}) == [entry.message_id for entry in entries]
    assert sorted(entry.position for entry in entries) == [entry.position for entry in entries]


async def test_the_same_send_again_changes_nothing_and_gets_the_first_answer(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    original = send(conversation, alice_phone, [bob_phone])
    [first] = (await log.append([original])).outcomes
    again = await log.append([send(conversation, alice_phone, [], client_message_id=original.client_message_id)])
    [second] = again.outcomes
    assert isinstance(first, Sent)
    assert isinstance(second, Sent)
    assert (second.seq, second.message_id, second.sent_ms, second.duplicate) == (
        first.seq,
        first.message_id,
        first.sent_ms,
        True,
    )
    assert again.entries == ()
    assert await rows(LedgerRow) == 1


async def test_another_device_may_use_the_same_client_message_id(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    key = uuid7()
    sends = [
        send(conversation, alice_phone, [bob_phone], client_message_id=key),
        send(conversation, bob_phone, [alice_phone], client_message_id=key),
    ]
    outcomes = (await log.append(sends)).outcomes
    assert [outcome.seq for outcome in outcomes if isinstance(outcome, Sent)] == [1, 2]


async def test_concurrent_copies_of_one_send_are_committed_once(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    copy = send(conversation, alice_phone, [bob_phone])
    committed = await asyncio.gather(*(log.append([copy], waiting=True) for _ in range(8)))
    outcomes = [item.outcomes[0] for item in committed]
    assert {outcome.seq for outcome in outcomes if isinstance(outcome, Sent)} == {1}
    assert sum(not outcome.duplicate for outcome in outcomes if isinstance(outcome, Sent)) == 1
    assert await rows(LedgerRow) == 1


@pytest.mark.parametrize("why", ["missing", "extra", "twice"])
async def test_a_wrong_device_list_is_refused_and_nothing_is_stored(
    why: str, conversation: UUID, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    to = {"missing": [], "extra": [bob_phone, mallory], "twice": [bob_phone, bob_phone]}[why]
    committed = await log.append([send(conversation, alice_phone, to)])
    [refusal] = committed.outcomes
    if why == "twice":
        assert isinstance(refusal, InvalidRequest)
    else:
        assert isinstance(refusal, MismatchedDevices)
        assert refusal.facts == {
            "missing": [{"user_id": bob_phone.user_id, "device_id": bob_phone.device_id}] if why == "missing" else [],
            "extra": [mallory.device_id] if why == "extra" else [],
        }
    assert committed.entries == ()
    assert (await rows(LedgerRow), await rows(OutboxRow), await rows(DeviceStart)) == (0, 0, 0)


async def test_a_device_installed_again_makes_the_send_stale_and_that_wins(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    messages = (
        Addressed(int(bob_phone.device_id), bob_phone.registration_id % 16383 + 1, b"x"),
        Addressed(int(mallory.device_id), mallory.registration_id, b"x"),
    )
    [refusal] = (await log.append([send(conversation, alice_phone, [], messages=messages)])).outcomes
    assert isinstance(refusal, StaleDevices)
    assert refusal.facts == {"stale": [bob_phone.device_id]}


async def test_strangers_and_unknown_conversations_are_not_found(
    conversation: UUID, alice_phone: Installation, mallory: Installation
) -> None:
    sends = [send(conversation, mallory, [alice_phone]), send(uuid4(), mallory, [alice_phone])]
    outcomes = (await log.append(sends)).outcomes
    assert [type(outcome) for outcome in outcomes] == [NotFound, NotFound]


async def test_a_key_of_long_ago_is_stale(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    old = uuid7(now_ms=1_700_000_000_000)
    [refusal] = (await log.append([send(conversation, alice_phone, [bob_phone], client_message_id=old)])).outcomes
    assert isinstance(refusal, StaleKey)


async def test_behind_a_mismatch_the_same_devices_next_send_is_to_be_retried(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    sends = [
        send(conversation, alice_phone, []),
        send(conversation, alice_phone, [bob_phone]),
        send(conversation, bob_phone, [alice_phone]),
    ]
    outcomes = (await log.append(sends)).outcomes
    assert [type(outcome) for outcome in outcomes] == [MismatchedDevices, RetryInOrder, Sent]


async def test_a_locked_conversation_is_skipped_and_the_others_are_committed(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    other = await sync_to_async(direct)(alice_phone, mallory)
    async with await psycopg.AsyncConnection.connect(postgresql.conninfo("default")) as rival:
        await rival.execute("SELECT FROM conversations_conversation WHERE id = %s FOR UPDATE", [conversation])
        sends = [send(conversation, alice_phone, [bob_phone]), send(other, alice_phone, [mallory])]
        outcomes = (await log.append(sends)).outcomes
        assert outcomes[0] is SKIPPED
        assert isinstance(outcomes[1], Sent)
        stranger = (await log.append([send(conversation, mallory, [bob_phone])])).outcomes
        assert isinstance(stranger[0], NotFound), "a held conversation must not look different to strangers"
        await rival.rollback()
    [sent] = (await log.append(sends[:1])).outcomes
    assert isinstance(sent, Sent)


async def test_a_waiting_append_gives_up_after_two_seconds_with_a_retryable_answer(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql.conninfo("default")) as rival:
        await rival.execute("SELECT FROM conversations_conversation WHERE id = %s FOR UPDATE", [conversation])
        async with asyncio.timeout(4):
            [refusal] = (await log.append([send(conversation, alice_phone, [bob_phone])], waiting=True)).outcomes
        assert isinstance(refusal, StorageUnavailable)
        await rival.rollback()


async def test_a_linked_device_is_announced_just_before_the_next_send(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    await log.append([send(conversation, alice_phone, [bob_phone])])
    laptop = await sync_to_async(alice_phone.beside("Alice's laptop").register)()
    [refusal] = (await log.append([send(conversation, bob_phone, [alice_phone])])).outcomes
    assert isinstance(refusal, MismatchedDevices), "a refused send writes nothing, not even the news"
    assert await rows(LedgerRow) == 1
    committed = await log.append([send(conversation, bob_phone, [alice_phone, laptop])])
    news, message = committed.entries
    assert news.system == {
        "event": "device_linked",
        "actor_user_id": laptop.user_id,
        "user_id": laptop.user_id,
        "device_id": laptop.device_id,
    }
    assert (news.seq, message.seq) == (2, 3)
    starts = {recipient.device_id: recipient.start for recipient in news.recipients}
    # Alice's phone sent the first message and got no envelope for it: this is its first one.
    assert starts == {int(alice_phone.device_id): True, int(laptop.device_id): True, int(bob_phone.device_id): False}
    assert not any(recipient.start for recipient in message.recipients)


async def test_an_unlinked_device_is_announced_and_gets_nothing_any_more(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    laptop = await sync_to_async(alice_phone.beside("Alice's laptop").register)()
    await log.append([send(conversation, bob_phone, [alice_phone, laptop])])
    gone = await sync_to_async(laptop.http.delete)(f"devices/{alice_phone.device_id}")
    assert gone.status == 204
    committed = await log.append([send(conversation, bob_phone, [laptop])])
    news, message = committed.entries
    assert news.system is not None
    assert (news.system["event"], news.system["device_id"]) == ("device_unlinked", alice_phone.device_id)
    reached = {recipient.device_id for entry in (news, message) for recipient in entry.recipients}
    assert int(alice_phone.device_id) not in reached
    later = await log.append([send(conversation, bob_phone, [laptop])])
    assert len(later.entries) == 1, "told once"


async def test_a_reinstalled_device_is_announced_and_starts_again(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    await log.append([send(conversation, alice_phone, [bob_phone])])
    again = await sync_to_async(bob_phone.reinstalled().register)()
    assert again.device_id == bob_phone.device_id
    committed = await log.append([send(conversation, alice_phone, [again])])
    news, message = committed.entries
    assert news.system is not None
    assert news.system["event"] == "device_linked"
    starts = {recipient.device_id: recipient.start for recipient in news.recipients}
    assert starts[int(again.device_id)] is True
    assert not any(recipient.start for recipient in message.recipients)


async def test_an_unlinked_devices_last_send_is_refused(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    laptop = await sync_to_async(alice_phone.beside("Alice's laptop").register)()
    await sync_to_async(laptop.http.delete)(f"devices/{alice_phone.device_id}")
    [refusal] = (await log.append([send(conversation, alice_phone, [laptop, bob_phone])])).outcomes
    assert isinstance(refusal, NotFound)


async def test_only_the_sender_or_an_admin_deletes(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    [sent] = (await log.append([send(conversation, alice_phone, [bob_phone])])).outcomes
    assert isinstance(sent, Sent)
    mine = send(conversation, alice_phone, [bob_phone], deletes=sent.message_id)
    others = send(conversation, bob_phone, [alice_phone], deletes=sent.message_id)
    nothing = send(conversation, alice_phone, [bob_phone], deletes=77)
    committed = await log.append([others, nothing, mine])
    assert [type(outcome) for outcome in committed.outcomes] == [Forbidden, InvalidRequest, Sent]
    assert committed.entries[0].deletes_seq == 1


async def test_a_large_group_needs_shared_content(alice_phone: Installation) -> None:
    @sync_to_async
    def group_of(size: int) -> UUID:
        conversation = Conversation.objects.create(kind="group", last_position=PRESENT_ERA)
        others = [User.objects.create_user(f"+6682{number:07}").pk for number in range(size - 1)]
        for user_id in (UUID(alice_phone.user_id), *others):
            Member.objects.create(conversation=conversation, user_id=user_id, joined_seq=1)
        return conversation.pk

    large = await group_of(33)
    outcomes = (await log.append([send(large, alice_phone, []), send(large, alice_phone, [], shared=b"x")])).outcomes
    assert isinstance(outcomes[0], TooLarge)
    assert outcomes[0].facts == {"limit": "members_without_shared", "max": 32}
    assert isinstance(outcomes[1], Sent)


async def test_one_send_that_postgresql_refuses_does_not_fail_the_batch(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    sends = [send(conversation, alice_phone, [bob_phone]) for _ in range(7)]
    sends[3] = send(conversation, alice_phone, [bob_phone], kind="longer than a kind may be, by far")
    committed = await log.append(sends)
    assert [isinstance(outcome, Sent) for outcome in committed.outcomes] == [True, True, True, False, True, True, True]
    assert [entry.seq for entry in committed.entries] == [1, 2, 3, 4, 5, 6]


async def test_a_batch_taken_apart_lets_nothing_overtake_what_is_to_be_sent_again(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    first = send(conversation, alice_phone, [])
    poison = send(conversation, bob_phone, [alice_phone], kind="longer than a kind may be, by far")
    second, bobs = send(conversation, alice_phone, [bob_phone]), send(conversation, bob_phone, [alice_phone])
    outcomes = (await log.append([first, poison, second, bobs])).outcomes
    assert [type(outcome) for outcome in outcomes] == [MismatchedDevices, InvalidRequest, RetryInOrder, Sent]


async def test_a_batch_taken_apart_skips_a_held_conversation_as_a_whole(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await sync_to_async(group_of_two)(alice_phone, bob_phone)
    held = [send(conversation, alice_phone, [bob_phone]) for _ in range(2)]
    poison = send(other, alice_phone, [bob_phone], kind="longer than a kind may be, by far")
    transaction, held_for = log._transaction, [3]

    async def freed_by_and_by(sends: Any, *, waiting: bool) -> Any:
        """Somebody holds the conversation while the first half is tried, and lets go before the second."""
        async with postgresql.connection() as conn:
            await conn.execute("BEGIN")
            if held_for[0]:
                held_for[0] -= 1
                await conn.execute("SELECT FROM conversations_conversation WHERE id = %s FOR UPDATE", [conversation])
            return await transaction(sends, waiting=waiting)

    monkeypatch.setattr(log, "_transaction", freed_by_and_by)
    outcomes = (await log.append([held[0], poison, held[1], send(other, alice_phone, [bob_phone])])).outcomes
    assert outcomes[0] == outcomes[2] == SKIPPED
    assert isinstance(outcomes[1], InvalidRequest)
    assert isinstance(outcomes[3], Sent)


async def test_on_a_server_too_slow_for_anything_a_batch_is_given_up_in_time(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def slow(sends: Any, *, waiting: bool) -> Any:
        tries.append(len(sends))
        await asyncio.sleep(0.1)
        raise psycopg.errors.QueryCanceled

    monkeypatch.setattr(log, "_transaction", slow)
    monkeypatch.setattr(log, "TAKING_APART_SECONDS", 0.25)
    outcomes = (await log.append([send(conversation, alice_phone, [bob_phone]) for _ in range(64)])).outcomes
    assert tries == [64, 32, 16]
    assert {type(outcome) for outcome in outcomes} == {StorageUnavailable, RetryInOrder}


def group_of_two(first: Installation, second: Installation) -> UUID:
    conversation = Conversation.objects.create(kind="group", name="two", last_position=PRESENT_ERA)
    for device in (first, second):
        Member.objects.create(conversation=conversation, user_id=device.user_id, joined_seq=1)
    return conversation.pk


async def test_the_watermark_stays_below_an_open_append(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with await psycopg.AsyncConnection.connect(postgresql.conninfo("default")) as rival:
        row = await (await rival.execute("SELECT pg_current_xact_id()::text::bigint")).fetchone()
        assert row is not None
        await log.append([send(conversation, alice_phone, [bob_phone])])
        mark = await outbox.watermark("default", UUID(bob_phone.user_id))
        assert mark.position & ((1 << 48) - 1) <= row[0]
        await rival.rollback()
    [entry] = await outbox.of_conversation(conversation, 1, 1)
    await _watermark_becomes(UUID(bob_phone.user_id), lambda position: position == entry.position)
    await outbox.done([(conversation, 1)])
    await _watermark_becomes(UUID(bob_phone.user_id), lambda position: position > entry.position)


async def _watermark_becomes(user_id: UUID, good: Callable[[int], bool]) -> None:
    """Whatever is open on the whole server holds it back, also what others do in their own databases meanwhile."""
    async with asyncio.timeout(30):
        while not good((await outbox.watermark("default", user_id)).position):  # noqa: ASYNC110  (asked again)
            await asyncio.sleep(0.02)


async def test_a_look_into_the_outbox_is_bounded_in_bytes_and_says_whether_it_saw_all(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    await log.append([send(conversation, alice_phone, [bob_phone]) for _ in range(5)])
    weighed = await backlog.measure()
    rows, size = weighed.rows, weighed.bytes
    bob = UUID(bob_phone.user_id)

    async def look(limit: int, most_bytes: int, after: Place = Place()) -> tuple[list[int], bool]:  # noqa: B008  (frozen)
        found = await outbox.of_user(bob, after=after, limit=limit, most_bytes=most_bytes)
        return [row.entry.seq for row in found.rows if row.entry], found.is_all

    assert await look(1000, size * 2) == ([1, 2, 3, 4, 5], True)
    assert await look(1000, size // rows + 1) == ([1, 2], False)
    assert await look(3, size * 2) == ([1, 2, 3], False)
    [*_, third] = (await outbox.of_user(bob, after=Place(), limit=3, most_bytes=size)).rows
    assert await look(3, size * 2, third.place) == ([4, 5], True)


@sync_to_async
def spoil(conversation: UUID, seq: int) -> None:
    OutboxRow.objects.filter(conversation_id=conversation, seq=seq).update(bundle=b"\xc1unreadable")


async def test_a_row_that_cannot_be_read_hides_no_other(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    await log.append([send(conversation, alice_phone, [bob_phone]) for _ in range(3)])
    await spoil(conversation, 2)
    found = await outbox.of_user(UUID(bob_phone.user_id), after=Place(), limit=10, most_bytes=10**6)
    assert [(row.place.seq, row.entry is None) for row in found.rows] == [(1, False), (2, True), (3, False)]
    assert [entry.seq for entry in await outbox.of_conversation(conversation, 1, 3)] == [1, 3]
    await expire_claims("-1 second")
    claimed = await outbox.claim("default", limit=10)
    assert ([entry.seq for entry in claimed.entries], claimed.unreadable) == ([1, 3], [(conversation, 2)])


async def test_what_is_set_aside_stays_and_is_tried_again_after_longer_and_longer_pauses(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    await log.append([send(conversation, alice_phone, [bob_phone])])
    pauses = []
    for _ in range(8):
        await outbox.set_aside([(conversation, 1)], reason="DataError")
        pauses.append(await seconds_claimed())
        assert (await outbox.claim("default", limit=10)).entries == []
    assert [round(pause, -1) for pause in pauses] == [60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert [record.levelname for record in caplog.records if "set aside" in record.message] == ["ERROR"]
    assert str(conversation) in caplog.text
    assert await outbox.take_up_again() == 1
    assert len((await outbox.claim("default", limit=10)).entries) == 1


async def test_what_is_set_aside_holds_back_the_cursors_of_those_alone_who_may_get_it(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    [entry] = (await log.append([send(conversation, alice_phone, [bob_phone])])).entries
    await outbox.set_aside([(conversation, 1)], reason="DataError")
    await _watermark_becomes(UUID(bob_phone.user_id), lambda position: position == entry.position)
    await _watermark_becomes(UUID(mallory.user_id), lambda position: position > entry.position)
    assert (await outbox.watermark("default", UUID(bob_phone.user_id))).oldest_kept_ms == entry.kept_ms


@sync_to_async
def seconds_claimed() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM claimed_until - now()) FROM conversations_outbox")
        return float(cursor.fetchone()[0])


async def test_a_claim_is_taken_over_only_after_it_expired(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    [entry] = (await log.append([send(conversation, alice_phone, [bob_phone])])).entries
    assert await outbox.claim("default", limit=10) == ([], [])
    await expire_claims("-1 second")
    assert await outbox.claim("default", limit=10) == ([entry], [])
    assert await outbox.claim("default", limit=10) == ([], [])
    await expire_claims("2 hours")
    assert await outbox.claim("default", limit=10) == ([entry], []), (
        "a claim absurdly far ahead was made by a wrong clock"
    )


@sync_to_async
def expire_claims(by: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE conversations_outbox SET claimed_until = now() + %s::interval", [by])


async def test_postgresql_that_is_not_there_is_a_retryable_answer(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await postgresql.close_pools()
    monkeypatch.setattr(postgresql, "conninfo", lambda alias: "host=/nowhere dbname=nothing connect_timeout=1")
    monkeypatch.setattr(postgresql, "CHECKOUT_SECONDS", 0.2)
    [refusal] = (await log.append([send(conversation, alice_phone, [bob_phone])])).outcomes
    assert isinstance(refusal, StorageUnavailable)


def test_a_clock_that_jumps_is_refused_until_it_has_stood_there_and_one_that_drifts_is_followed() -> None:
    guard = ClockGuard()
    start = 1_800_000_000_000
    guard.check(start, steady_ms=0)
    guard.check(start + 59_000, steady_ms=0)
    hour = 3_600_000
    for seconds in (1, 10, 29):
        with pytest.raises(StorageUnavailable):
            guard.check(start + hour + seconds * 1000, steady_ms=seconds * 1000)
    guard.check(start + 60_000, steady_ms=30_000)
    for seconds in (31, 40):
        with pytest.raises(StorageUnavailable):
            guard.check(start + hour + seconds * 1000, steady_ms=seconds * 1000)
    guard.check(start + hour + 62_000, steady_ms=62_000)
