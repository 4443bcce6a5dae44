"""The relay over stores that are slow, down and back again, with a real outbox."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from conversations import backlog, log, outbox
from conversations.entries import LogEntry
from conversations.models import OutboxRow
from messaging import finisher
from messaging import relay as relays
from messaging.envelopes import Cursor, Mailbox
from messaging.finisher import Finisher
from messaging.relay import Relay
from messaging.store.memory import MemoryStore
from messaging.store.protocol import StoreRefused, StoreUnavailable
from tests.cast import Installation
from tests.conversations_of import direct, send
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


class MoodyStore(MemoryStore):
    """The in-memory store behind a door that can be shut, or slow."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.takes_seconds = 0.0
        self.refuses: dict[int, Exception] = {}
        self.deposits: list[int] = []

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        await asyncio.sleep(self.takes_seconds)
        if self.is_down:
            raise StoreUnavailable
        for entry in entries:
            if entry.seq in self.refuses:
                raise self.refuses[entry.seq]
        self.deposits.append(len(entries))
        await super().deposit(entries)


@pytest.fixture
def store() -> MoodyStore:
    return MoodyStore()


@pytest.fixture
def told() -> list[LogEntry]:
    return []


@pytest.fixture
def undeposited() -> list[LogEntry]:
    """What recipients were told of although it is not deposited."""
    return []


@pytest.fixture
def looking() -> list[LogEntry]:
    return []


@pytest.fixture
def relay(store: MoodyStore, told: list[LogEntry], undeposited: list[LogEntry], looking: list[LogEntry]) -> Relay:
    return Relay(store, told.extend, undeposited.extend, looking.extend)


@pytest.fixture
def conversation(alice_phone: Installation, bob_phone: Installation) -> UUID:
    return direct(alice_phone, bob_phone)


@sync_to_async
def expire_claims() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE conversations_outbox SET claimed_until = now() - interval '1 second'")


async def commit(conversation: UUID, alice: Installation, bob: Installation, count: int = 1) -> tuple[LogEntry, ...]:
    return (await log.append([send(conversation, alice, [bob]) for _ in range(count)])).entries


async def in_mailbox(store: MemoryStore, bob: Installation) -> list[int]:
    page = await store.pending(
        Mailbox(UUID(bob.user_id), int(bob.device_id)), since=Cursor(), now_ms=time.time_ns() // 10**6
    )
    return [envelope.seq for envelope in page.envelopes]


async def test_what_is_committed_is_deposited_told_and_forgotten(
    relay: Relay,
    store: MoodyStore,
    told: list[LogEntry],
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
) -> None:
    entries = await commit(conversation, alice_phone, bob_phone, 5)
    relay.take(entries)
    await relay.drain()
    assert told == list(entries)
    assert store.deposits == [5]
    assert (await backlog.measure()).rows == 0


async def test_while_the_store_is_down_recipients_are_told_all_the_same_and_the_outbox_keeps_it(
    relay: Relay,
    store: MoodyStore,
    told: list[LogEntry],
    undeposited: list[LogEntry],
    looking: list[LogEntry],
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
) -> None:
    store.is_down = True
    first = await commit(conversation, alice_phone, bob_phone)
    relay.take(first)
    await relay.drain()
    second = await commit(conversation, alice_phone, bob_phone)
    relay.take(second)
    assert told == []
    assert undeposited == [*first, *second]
    assert looking == []
    assert relay.store_is_down
    assert (await backlog.measure()).rows == 2


async def test_what_a_process_that_stood_still_cannot_deposit_is_looked_for_in_the_outbox(
    relay: Relay,
    store: MoodyStore,
    undeposited: list[LogEntry],
    looking: list[LogEntry],
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Meanwhile others may have delivered it, and its deletion as well."""
    monkeypatch.setattr(relays, "OWN_SECONDS", 0.1)
    store.is_down, store.takes_seconds = True, 0.2
    entries = await commit(conversation, alice_phone, bob_phone)
    relay.take(entries)
    await relay.drain()
    assert undeposited == []
    assert looking == list(entries)


async def test_the_finisher_takes_over_when_the_claim_has_expired_and_the_store_is_back(
    relay: Relay,
    store: MoodyStore,
    told: list[LogEntry],
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finisher, "PAUSE_SECONDS", 0.05)
    store.is_down = True
    entries = await commit(conversation, alice_phone, bob_phone, 3)
    relay.take(entries)
    await relay.drain()
    finishing = asyncio.create_task(Finisher(relay).run())
    try:
        await asyncio.sleep(0.2)
        assert told == []
        store.is_down = False
        await expire_claims()
        await until(lambda: len(told) == 3)
    finally:
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
    await relay.drain()
    assert not relay.store_is_down
    assert await in_mailbox(store, bob_phone) == [1, 2, 3]
    assert (await backlog.measure()).rows == 0


async def test_what_a_finisher_could_not_deposit_waits_for_no_claim_to_end_and_is_tried_again_in_smaller_numbers(
    relay: Relay,
    store: MoodyStore,
    told: list[LogEntry],
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finisher, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(finisher, "BATCH", 20)
    monkeypatch.setattr(outbox, "LEASE_SECONDS", 600)
    monkeypatch.setattr(outbox, "RELEASED_SECONDS", 0)
    store.is_down = True
    await commit(conversation, alice_phone, bob_phone, 60)
    await expire_claims()
    finishing = Finisher(relay)
    task = asyncio.create_task(finishing.run())
    await until(lambda: relay.portion.size == 1)
    store.is_down = False
    await until(lambda: len(told) == 60)
    finishing.stop()
    await task
    await relay.drain()
    assert store.deposits == [1, 2, 4, 8, 16, 20, 9]
    assert relay.portion.size == 64
    assert (await backlog.measure()).rows == 0


async def test_a_finisher_takes_few_large_messages_at_once_and_one_at_least(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await commit(conversation, alice_phone, bob_phone, 5)
    size = (await backlog.measure()).bytes // 5
    await expire_claims()
    for most, taken in ((3 * size, [1, 2, 3]), (1, [4]), (10 * size, [5])):
        monkeypatch.setattr(outbox, "LARGEST_CLAIM_BYTES", most)
        assert [entry.seq for entry in (await outbox.claim("default", limit=200)).entries] == taken


async def test_two_finishers_and_the_sender_change_nothing_that_is_decided(
    relay: Relay, store: MoodyStore, conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    entries = await commit(conversation, alice_phone, bob_phone, 4)
    rival = Relay(store, *[lambda entries: None] * 3)
    await asyncio.gather(relay.finish(entries), rival.finish(entries), rival.finish(entries))
    relay.take(entries)
    await relay.drain()
    await rival.drain()
    assert await in_mailbox(store, bob_phone) == [1, 2, 3, 4]
    assert (await backlog.measure()).rows == 0


async def test_a_store_that_falls_behind_is_not_given_the_same_work_twice(
    relay: Relay,
    store: MoodyStore,
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relays, "OWN_SECONDS", 0.1)
    store.takes_seconds = 0.2
    relay.take(await commit(conversation, alice_phone, bob_phone))
    await asyncio.sleep(0)
    late = await commit(conversation, alice_phone, bob_phone, 3)
    relay.take(late)
    await relay.drain()
    assert store.deposits == [1], "what waited longer than its claim is the finishers'"
    assert (await backlog.measure()).rows == 3


async def test_an_entry_the_store_refuses_is_set_aside_and_holds_up_no_other(
    relay: Relay,
    store: MoodyStore,
    told: list[LogEntry],
    looking: list[LogEntry],
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.refuses = {3: StoreRefused("PostgreSQL: DataError"), 8: OverflowError("what was in it")}
    entries = await commit(conversation, alice_phone, bob_phone, 20)
    relay.take(entries)
    await relay.drain()
    assert sorted(entry.seq for entry in told) == [seq for seq in range(1, 21) if seq not in (3, 8)]
    assert [entry.seq for entry in looking] == [3, 8], "their recipients find them in the outbox"
    assert not relay.store_is_down
    assert [(row.seq, row.failures) for row in await set_aside()] == [(3, 1), (8, 1)]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "what was in it" not in caplog.text

    relay.take(await commit(conversation, alice_phone, bob_phone))
    await relay.drain()
    assert 21 in [entry.seq for entry in told], "the store is not believed to be down"


async def test_a_finisher_goes_on_past_what_it_cannot_read_or_deposit_and_delivers_it_once_that_is_mended(
    relay: Relay,
    store: MoodyStore,
    told: list[LogEntry],
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finisher, "PAUSE_SECONDS", 0.05)
    entries = await commit(conversation, alice_phone, bob_phone, 10)
    bundle = await spoil(4)
    store.refuses = {7: StoreRefused("Cassandra: InvalidRequest")}
    await expire_claims()
    finishing = Finisher(relay)
    task = asyncio.create_task(finishing.run())
    await until(lambda: len(told) == 8)
    await relay.drain()
    assert [(row.seq, row.failures) for row in await set_aside()] == [(4, 1), (7, 1)]

    store.refuses = {}
    await sync_to_async(OutboxRow.objects.filter(seq=4).update)(bundle=bundle)
    await outbox.take_up_again()
    await until(lambda: len(told) == 10)
    finishing.stop()
    await task
    await relay.drain()
    assert await in_mailbox(store, bob_phone) == [entry.seq for entry in entries]
    assert (await backlog.measure()).rows == 0


async def test_a_finisher_that_is_stopped_ends_the_batch_it_is_at_and_takes_no_other(
    relay: Relay,
    store: MoodyStore,
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "messaging.finisher")
    store.takes_seconds = 0.2
    await commit(conversation, alice_phone, bob_phone, 5)
    await expire_claims()
    finishing = Finisher(relay)
    task = asyncio.create_task(finishing.run())
    await asyncio.sleep(0.1)
    finishing.stop()
    await commit(conversation, alice_phone, bob_phone)
    await expire_claims()
    await asyncio.wait_for(task, 5)
    await relay.drain()
    assert await in_mailbox(store, bob_phone) == [1, 2, 3, 4, 5]
    assert (await backlog.measure()).rows == 1
    assert [record.message for record in caplog.records] == ["the finisher has taken over 5 messages"]


@sync_to_async
def set_aside() -> list[OutboxRow]:
    return list(OutboxRow.objects.filter(failures__gt=0).order_by("seq"))


@sync_to_async
def spoil(seq: int) -> bytes:
    row = OutboxRow.objects.get(seq=seq)
    OutboxRow.objects.filter(seq=seq).update(bundle=b"\xc1")
    return bytes(row.bundle)
