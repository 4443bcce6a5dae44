"""What a device does not get, and how it is told: messages it cannot get past, rows nobody can read, a mailbox that is full."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from asgiref.sync import sync_to_async

from accounts import postgresql
from accounts.wire.refusals import StorageUnavailable
from conversations import gaps, log
from conversations.entries import LogEntry
from conversations.models import DeviceStart
from conversations.models import Gap as GapRow
from conversations.sends import Sent
from devices.models import Device as DeviceRow
from messaging import mailboxes, window
from messaging import weights as weighing
from messaging.counts import counts
from messaging.envelopes import Cursor, Envelope, Mailbox, Page
from messaging.gaps import GapTeller
from messaging.relay import Relay
from messaging.store.memory import MemoryStore
from messaging.store.protocol import bucket_of
from messaging.weights import Weights, row_bytes, weigh
from messaging.window import NotKeepingUp
from tests.cast import Installation
from tests.conversations_of import direct, send
from tests.messaging.test_mailboxes import LATER, Device, entries
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


def mailbox_of(device: Installation) -> Mailbox:
    return Mailbox(UUID(device.user_id), int(device.device_id))


def told(envelopes: Sequence[Envelope]) -> list[tuple[int, int, int]]:
    """(seq, from_seq, to_seq) of the gaps among these."""
    found = []
    for envelope in envelopes:
        system: dict[str, Any] = envelope.system or {}
        if system.get("event") == "gap":
            found.append((envelope.seq, system["from_seq"], system["to_seq"]))
    return found


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def bob(bob_phone: Installation, store: MemoryStore) -> Device:
    return Device(mailbox_of(bob_phone), store)


# --- a message the device cannot get past -----------------------------------------------------------------------------------------------


async def socket_that_gets_stuck(phone: Installation, store: MemoryStore) -> Device:
    """Bob's client acknowledges nothing, until the server closes its socket."""
    stuck = Device(mailbox_of(phone), store)
    task = asyncio.create_task(stuck.delivery.run())
    with pytest.raises(NotKeepingUp) as behind:
        await asyncio.wait_for(task, 10)
    await stuck.delivery.gaps.stuck_at(behind.value.head)
    return stuck


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "UNANSWERED_SECONDS", 0.02)
    monkeypatch.setattr(mailboxes, "SWEEP_SECONDS", 0.02)


@pytest.fixture
def conversation(alice_phone: Installation, bob_phone: Installation) -> UUID:
    return direct(alice_phone, bob_phone)


def addressed_in(conversation: UUID, deposited: list[LogEntry]) -> list[LogEntry]:
    return [msgspec.structs.replace(entry, conversation_id=conversation) for entry in deposited]


async def test_a_message_the_device_cannot_get_past_is_skipped_after_five_sockets_and_the_rest_arrives(
    impatient: None,
    bob_phone: Installation,
    store: MemoryStore,
    conversation: UUID,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mailbox, before = mailbox_of(bob_phone), counts.skipped
    await store.deposit(addressed_in(conversation, entries(mailbox, range(1, 4), base=LATER)))
    for _ in range(gaps.MOST_TIMES_STUCK):
        stuck = await socket_that_gets_stuck(bob_phone, store)
        assert stuck.seqs[0] == 1
    assert [record.levelname for record in caplog.records if "skipped" in record.message] == ["ERROR"]
    assert counts.skipped == before + 1

    monkeypatch.setattr(window, "UNANSWERED_SECONDS", 30.0)
    again = Device(mailbox, store)
    async with again.connected():
        await until(lambda: again.emptied == 1)
        assert told(again.sent) == [(1, 1, 1)]
        assert [envelope.seq for envelope in again.sent if envelope.system is None] == [2, 3]
        await again.acknowledge(1, 2, 3)
        while not await GapRow.objects.filter(device_id=mailbox.device_id, told=True).aexists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    last = Device(mailbox, store)
    async with last.connected():
        await until(lambda: last.emptied == 1)
        assert last.sent == [], "the gap was acknowledged, and the row is not delivered any more"
    kept = await store.pending(mailbox, since=Cursor(), now_ms=entries(mailbox, [1])[0].kept_ms)
    assert [envelope.seq for envelope in kept.envelopes] == [1], "the row is kept"


async def test_what_was_skipped_is_forgotten_once_its_mailbox_has_forgotten_it(
    bob_phone: Installation, conversation: UUID
) -> None:
    [recent] = entries(mailbox_of(bob_phone), [2], base=LATER)
    device_id = int(bob_phone.device_id)
    for seq, kept_ms in ((1, recent.kept_ms - 60 * 24 * 3600 * 1000), (2, recent.kept_ms)):
        for _ in range(gaps.MOST_TIMES_STUCK):
            await gaps.note_stuck(device_id, gaps.Gap(conversation, seq, seq, seq, LATER + seq, kept_ms))
    assert [gap.to_seq for gap in (await gaps.of_device(device_id)).gaps] == [2]


async def test_another_head_begins_to_count_anew(
    impatient: None, bob_phone: Installation, store: MemoryStore, conversation: UUID
) -> None:
    mailbox = mailbox_of(bob_phone)
    first, second = addressed_in(conversation, entries(mailbox, [1, 2], base=LATER))
    await store.deposit([first])
    for _ in range(gaps.MOST_TIMES_STUCK - 1):
        await socket_that_gets_stuck(bob_phone, store)
    bob = Device(mailbox, store)
    async with bob.connected():
        await until(lambda: bob.seqs == [1])
        await bob.acknowledge(1)
    await store.deposit([second])
    await socket_that_gets_stuck(bob_phone, store)
    assert not await sync_to_async(GapRow.objects.exists)()


# --- a row nobody can read --------------------------------------------------------------------------------------------------------------


async def test_a_row_nobody_can_read_is_told_as_a_gap_and_delivered_once_it_can_be_read(
    db: None, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mailboxes, "CURSOR_EVERY_SECONDS", 0)
    mailbox = Mailbox(uuid4(), 7)
    deposited = entries(mailbox, range(1, 6))
    await store.deposit(deposited)
    row = store._mailboxes[mailbox][bucket_of(deposited[2].kept_ms), deposited[2].position, deposited[2].message_id]
    parcel, row.parcel = row.parcel, b"\xc1"
    bob = Device(mailbox, store)
    async with bob.connected():
        await until(lambda: bob.emptied == 1)
        assert told(bob.sent) == [(3, 3, 3)]
        assert sorted(bob.seqs) == [1, 2, 3, 4, 5]
        await bob.acknowledge(1, 2, 3, 4, 5)
        for _ in range(3):
            bob.delivery.look()
            await asyncio.sleep(0.1)
        assert len(bob.sent) == 5, "a gap is told once on a socket"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert (await store.cursor(mailbox)).low_position < deposited[2].position, "it is going to be read again"

    row.parcel = parcel
    again = Device(mailbox, store)
    async with again.connected():
        await until(lambda: again.emptied == 1)
        assert [(envelope.seq, envelope.ciphertext) for envelope in again.sent] == [(3, b"x" * 20)]


# --- a full mailbox ---------------------------------------------------------------------------------------------------------------------


async def test_what_is_committed_for_a_full_mailbox_is_a_gap_until_the_device_has_drained(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, store: MemoryStore
) -> None:
    relay = Relay(store, *[lambda entries: None] * 3)

    async def say(count: int) -> list[int]:
        committed = await log.append([send(conversation, alice_phone, [bob_phone]) for _ in range(count)])
        await relay.finish(committed.entries)
        return [outcome.seq for outcome in committed.outcomes if isinstance(outcome, Sent)]

    assert await say(2) == [1, 2]
    await sync_to_async(DeviceRow.objects.filter(pk=bob_phone.device_id).update)(mailbox_full=True)
    assert await say(3) == [3, 4, 5]
    assert await say(1) == [6]
    await relay.drain()
    bob = Device(mailbox_of(bob_phone), store)
    async with bob.connected():
        await until(lambda: bob.emptied == 1)
        assert bob.seqs == [1, 2, 6]
        assert told(bob.sent) == [(6, 3, 6)]
        await bob.acknowledge(1, 2, 6)
        await until_no_gaps()
        assert await say(2) == [7, 8]
        bob.delivery.look()
        await until(lambda: bob.seqs == [1, 2, 6, 7, 8])
    assert not (await sync_to_async(DeviceRow.objects.get)(pk=bob_phone.device_id)).mailbox_full


async def until_no_gaps() -> None:
    for _ in range(100):
        if not await sync_to_async(GapRow.objects.exists)():
            return
        await asyncio.sleep(0.05)
    pytest.fail("the gap is still there")


async def test_a_gap_that_grows_after_it_was_told_is_told_again(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async def say() -> None:
        await log.append([send(conversation, alice_phone, [bob_phone])])

    await sync_to_async(DeviceRow.objects.filter(pk=bob_phone.device_id).update)(mailbox_full=True)
    await say()
    teller = GapTeller(mailbox_of(bob_phone))
    await teller.load()
    [first] = teller.envelopes()
    await say()
    assert teller.acknowledged(first)
    await teller.load()
    [second] = teller.envelopes()
    assert told([first, second]) == [(1, 1, 1), (2, 1, 2)]
    assert first.message_id != second.message_id
    assert teller.acknowledged(second)
    await teller.load()
    assert teller.envelopes() == []


async def test_what_was_committed_between_two_gaps_is_in_neither(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, store: MemoryStore
) -> None:
    relay = Relay(store, *[lambda entries: None] * 3)
    phone = DeviceRow.objects.filter(pk=bob_phone.device_id)

    async def say() -> Sequence[LogEntry]:
        return (await log.append([send(conversation, alice_phone, [bob_phone])])).entries

    await sync_to_async(phone.update)(mailbox_full=True)
    await say()
    # All was sent, but the socket ended before the gap was acknowledged.
    await gaps.drained(int(bob_phone.device_id))
    await relay.finish(await say())
    await say()
    await sync_to_async(phone.update)(mailbox_full=True)
    await say()
    await say()
    await relay.drain()
    bob = Device(mailbox_of(bob_phone), store)
    async with bob.connected():
        await until(lambda: bob.emptied == 1)
        assert sorted(bob.seqs) == [1, 2, 3, 5]
        assert told(bob.sent) == [(1, 1, 1), (5, 4, 5)]
        await bob.acknowledge(1, 5)
        await until_no_gaps()


async def test_the_first_envelope_after_a_full_mailbox_is_a_start_if_none_came_before(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    device = DeviceRow.objects.filter(pk=bob_phone.device_id)
    await sync_to_async(device.update)(mailbox_full=True)
    [entry] = (await log.append([send(conversation, alice_phone, [bob_phone])])).entries
    assert entry.recipients == ()
    [start] = [row async for row in DeviceStart.objects.filter(device_id=bob_phone.device_id)]
    assert (start.from_seq, start.envelope_seq) == (1, None)
    await sync_to_async(device.update)(mailbox_full=False)
    [entry] = (await log.append([send(conversation, alice_phone, [bob_phone])])).entries
    assert [recipient.start for recipient in entry.recipients] == [True]


async def test_a_mailbox_that_seems_full_is_counted_and_one_that_is_full_is_marked(
    conversation: UUID, bob_phone: Installation, alice_phone: Installation, store: MemoryStore, settings: Any
) -> None:
    settings.LIMITS = settings.LIMITS | {"MAILBOX_ROWS": [100], "MAILBOX_BYTES": [0]}
    mailbox = mailbox_of(bob_phone)
    weights = Weights(store)
    deposited = addressed_in(conversation, entries(mailbox, range(1, 61), base=LATER))
    await store.deposit(deposited)
    weights.deposited([*deposited, *deposited])
    await weights.write(everything=False)
    row = await sync_to_async(DeviceRow.objects.get)(pk=bob_phone.device_id)
    assert (row.mailbox_full, row.pending_rows) == (False, 60), "what was deposited twice is there once"

    more = addressed_in(conversation, entries(mailbox, range(61, 121), base=LATER))
    await store.deposit(more)
    weights.deposited(more)
    await weights.write(everything=False)
    row = await sync_to_async(DeviceRow.objects.get)(pk=bob_phone.device_id)
    assert row.mailbox_full


@pytest.mark.parametrize("failure", [StorageUnavailable, RuntimeError], ids=["away", "unforeseen"])
async def test_what_cannot_be_written_down_is_written_later(
    conversation: UUID,
    bob_phone: Installation,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[Exception],
) -> None:
    weights = Weights(store)
    weights.deposited(addressed_in(conversation, entries(mailbox_of(bob_phone), range(1, 61), base=LATER)))

    async def fails(_: object) -> list[Mailbox]:
        raise failure

    with monkeypatch.context() as patched, suppress(RuntimeError):
        patched.setattr(weighing, "_added", fails)
        await weights.write(everything=True)
    weights.deposited(addressed_in(conversation, entries(mailbox_of(bob_phone), range(61, 71), base=LATER)))
    await weights.write(everything=True)
    assert (await sync_to_async(DeviceRow.objects.get)(pk=bob_phone.device_id)).pending_rows == 70


class SlowlyRead(MemoryStore):
    """A store whose reader is stopped, and wakes up when all it has read was acknowledged."""

    async def pending(self, *arguments: Any, **options: Any) -> Page:
        page = await super().pending(*arguments, **options)
        await asyncio.sleep(0.3)
        return page


async def test_a_mailbox_that_was_emptied_while_its_reader_was_stopped_is_not_marked_as_full(
    conversation: UUID, bob_phone: Installation, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighing, "COUNT_HOLDS_SECONDS", 0.2)
    settings.LIMITS = settings.LIMITS | {"MAILBOX_ROWS": [100], "MAILBOX_BYTES": [0]}
    store, mailbox = SlowlyRead(), mailbox_of(bob_phone)
    weights = Weights(store)
    deposited = addressed_in(conversation, entries(mailbox, range(1, 121), base=LATER))
    await store.deposit(deposited)
    weights.deposited(deposited)
    filled = counts.filled
    await weights.write(everything=False)
    row = await sync_to_async(DeviceRow.objects.get)(pk=bob_phone.device_id)
    assert (row.mailbox_full, row.pending_rows) == (False, 120), "and it is counted again when more comes"
    assert counts.filled == filled


async def test_bytes_fill_a_mailbox_too(
    conversation: UUID, bob_phone: Installation, store: MemoryStore, settings: Any
) -> None:
    settings.LIMITS = settings.LIMITS | {"MAILBOX_ROWS": [0], "MAILBOX_BYTES": [100_000]}
    mailbox = mailbox_of(bob_phone)
    weights = Weights(store)
    deposited = addressed_in(conversation, entries(mailbox, range(1, 3), base=LATER, size=60_000))
    await store.deposit(deposited)
    weights.deposited(deposited)
    await weights.write(everything=False)
    assert (await sync_to_async(DeviceRow.objects.get)(pk=bob_phone.device_id)).mailbox_full


async def test_a_device_that_takes_what_it_gets_costs_no_write(
    conversation: UUID, bob: Device, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Weights(store)
    deposited = addressed_in(conversation, entries(bob.mailbox, range(1, 201), base=LATER))
    await store.deposit(deposited)
    weights.deposited(deposited)
    async with bob.connected():
        await until(lambda: len(bob.sent) == 200)
        await bob.acknowledge(*range(1, 201))
    weights.acknowledged(bob.written)
    assert weights._differences == {bob.mailbox.device_id: [0, 0]}
    monkeypatch.setattr(postgresql, "connection", None)
    await weights.write(everything=False)


async def test_counting_ends_where_the_answer_is_known(db: None, store: MemoryStore) -> None:
    mailbox = Mailbox(uuid4(), 7)
    await store.deposit(entries(mailbox, range(1, 1001)))
    assert await weigh(store, mailbox, most_rows=float("inf"), most_bytes=float("inf")) == (
        1000,
        1000 * row_bytes(b"x" * 20),
    )
    rows, _ = await weigh(store, mailbox, most_rows=300, most_bytes=float("inf"))
    assert 300 <= rows < 1000
