"""Delivery to one socket, over the in-memory store and a real outbox: what hints bring, what the drain makes sure of, when a cursor may move."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from asgiref.sync import sync_to_async

from accounts.ids import uuid7
from conversations import log, outbox
from conversations.allocation import EPOCH_MS
from conversations.entries import LogEntry, Recipient
from conversations.models import OutboxRow
from conversations.outbox import Look
from messaging import mailboxes, undeposited, window
from messaging.acks import Acknowledged, AckWriter
from messaging.envelopes import Cursor, Envelope, Mailbox
from messaging.mailboxes import Delivery
from messaging.sessions import Session
from messaging.store.memory import MemoryStore
from messaging.store.protocol import StoreUnavailable, bucket_of
from tests.cast import Installation
from tests.conversations_of import direct, send
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


@dataclass
class Device:
    """A connected device: what it was sent, and how to answer."""

    mailbox: Mailbox
    store: MemoryStore
    sent: list[Envelope] = field(default_factory=list)
    emptied: int = 0
    written: list[Acknowledged] = field(default_factory=list)
    mailbox_from: int = 0
    delivery: Delivery = field(init=False)
    acks: AckWriter = field(init=False)

    def __post_init__(self) -> None:
        session = Session(
            self.mailbox.user_id, self.mailbox.device_id, 1, 1, self.mailbox_from, time.time_ns() // 10**6
        )
        self.acks = AckWriter(self.store, self.written.extend)
        self.delivery = Delivery(
            session,
            store=self.store,
            acks=self.acks,
            send=self.sent.extend,
            queue_empty=self.empty,
            hints_arrive=lambda: True,
        )

    def empty(self) -> None:
        self.emptied += 1

    @property
    def seqs(self) -> list[int]:
        return [envelope.seq for envelope in self.sent]

    async def acknowledge(self, *seqs: int) -> None:
        self.delivery.acknowledge([envelope.message_id for envelope in self.sent if envelope.seq in seqs])
        await self.acks.drain()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.delivery.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def device() -> Device:
    return Device(Mailbox(uuid4(), 7), MemoryStore())


CONVERSATION = uuid4()
# A position no watermark of these tests reaches.
LATER = 2**60
CLOCK = "clock_timestamp()"


def entries(mailbox: Mailbox, seqs: Sequence[int], *, size: int = 20, base: int = 0) -> list[LogEntry]:
    """Entries for the mailbox; seq n has position base + n."""
    now_ms = time.time_ns() // 10**6
    return [
        LogEntry(
            conversation_id=CONVERSATION,
            seq=seq,
            message_id=((now_ms - EPOCH_MS) << 22) + seq,
            position=base + seq,
            kept_ms=now_ms,
            client_message_id=uuid7(),
            sender_user_id=uuid4(),
            sender_device_id=99,
            recipients=(Recipient(mailbox.user_id, mailbox.device_id, b"x" * size),),
        )
        for seq in seqs
    ]


async def test_what_lies_in_the_mailbox_is_sent_in_order_and_then_the_queue_is_empty(db: None, device: Device) -> None:
    await device.store.deposit(entries(device.mailbox, range(1, 11)))
    async with device.connected():
        await until(lambda: device.emptied == 1)
        assert device.seqs == list(range(1, 11))


async def test_without_a_single_hint_the_sweep_finds_it(
    db: None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "SWEEP_SECONDS", 0.1)
    async with device.connected():
        await until(lambda: device.emptied == 1)
        await device.store.deposit(entries(device.mailbox, [1], base=LATER))
        await until(lambda: device.seqs == [1])
        await asyncio.sleep(0.3)
        assert device.seqs == [1], "what is in flight is not sent with every sweep"
        assert device.emptied == 1


async def test_a_hint_brings_it_at_once_and_the_drain_does_not_repeat_it(db: None, device: Device) -> None:
    deposited = entries(device.mailbox, [1, 2], base=LATER)
    async with device.connected():
        await until(lambda: device.emptied == 1)
        await device.store.deposit(deposited)
        page = await device.store.pending(device.mailbox, since=Cursor(), now_ms=time.time_ns() // 10**6)
        device.delivery.offer(page.envelopes)
        assert device.seqs == [1, 2]
        device.delivery.look()
        await asyncio.sleep(0.2)
        assert device.seqs == [1, 2]


async def test_the_window_holds_256_and_the_rest_follows_when_half_of_it_is_free(db: None, device: Device) -> None:
    await device.store.deposit(entries(device.mailbox, range(1, 601)))
    async with device.connected():
        await until(lambda: len(device.sent) == 256)
        await device.acknowledge(*range(1, 100))
        await asyncio.sleep(0.1)
        assert len(device.sent) == 256
        await device.acknowledge(*range(100, 257))
        await until(lambda: len(device.sent) == 512)
        await device.acknowledge(*range(257, 513))
        await until(lambda: device.emptied == 1)
        assert device.seqs == list(range(1, 601))


async def test_what_expires_while_the_window_is_full_is_not_sent_when_there_is_room(db: None, device: Device) -> None:
    waiting = entries(device.mailbox, range(1, 401))
    soon = waiting[0].kept_ms + 700
    await device.store.deposit(
        [msgspec.structs.replace(entry, expires_ms=soon if entry.seq > 300 else None) for entry in waiting]
    )
    async with device.connected():
        await until(lambda: len(device.sent) == 256)
        await asyncio.sleep(0.8)
        await device.acknowledge(*range(1, 257))
        await until(lambda: device.emptied == 1)
        assert device.seqs == list(range(1, 301))


async def test_the_window_holds_a_mebibyte_and_one_large_envelope_always_fits(db: None, device: Device) -> None:
    await device.store.deposit(entries(device.mailbox, range(1, 5), size=600_000))
    async with device.connected():
        for count in range(1, 5):
            await until(lambda count=count: len(device.sent) == count)  # type: ignore[misc]
            await asyncio.sleep(0.05)
            assert len(device.sent) == count
            await device.acknowledge(count)


async def test_the_cursor_stays_below_what_is_not_acknowledged(
    db: None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "CURSOR_EVERY_SECONDS", 0)
    await device.store.deposit(entries(device.mailbox, range(1, 6)))
    async with device.connected():
        await until(lambda: len(device.sent) == 5)
        await device.acknowledge(1, 2, 4, 5)
        device.delivery.look()
        async with asyncio.timeout(10):
            while not (await device.store.cursor(device.mailbox)).low_position:  # noqa: ASYNC110  (a store has no event)
                await asyncio.sleep(0.01)
        assert await device.store.cursor(device.mailbox) == Cursor(
            2, (await device.store.cursor(device.mailbox)).low_bucket
        )
        await device.acknowledge(3)
        device.delivery.look()
        await asyncio.sleep(0.2)
        mark = await outbox.watermark("default", device.mailbox.user_id)
        assert 5 < (await device.store.cursor(device.mailbox)).low_position < mark.position


async def test_a_pass_cut_by_the_window_moves_no_cursor(
    db: None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "CURSOR_EVERY_SECONDS", 0)
    await device.store.deposit(entries(device.mailbox, range(1, 400)))
    async with device.connected():
        await until(lambda: len(device.sent) == 256)
        device.delivery.look()
        await asyncio.sleep(0.2)
    assert await device.store.cursor(device.mailbox) == Cursor()
    assert device.emptied == 0


async def test_what_is_committed_and_not_deposited_is_sent_before_the_queue_is_empty(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "CURSOR_EVERY_SECONDS", 0)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    [entry] = (await log.append([send(conversation, alice_phone, [bob_phone])])).entries
    bob = Device(Mailbox(UUID(bob_phone.user_id), int(bob_phone.device_id)), MemoryStore())
    async with bob.connected():
        await until(lambda: bob.emptied == 1)
        assert bob.seqs == [1]
        await asyncio.sleep(0.1)
    assert (await bob.store.cursor(bob.mailbox)).low_position < entry.position, "its deposit is still to come"


async def test_rows_of_a_former_installation_are_skipped(db: None) -> None:
    device = Device(Mailbox(uuid4(), 7), MemoryStore(), mailbox_from=3)
    await device.store.deposit(entries(device.mailbox, range(1, 6)))
    async with device.connected():
        await until(lambda: device.emptied == 1)
        assert device.seqs == [3, 4, 5]


async def test_an_ack_tells_the_sender_once_it_is_written(db: None, device: Device) -> None:
    await device.store.deposit(entries(device.mailbox, [1]))
    async with device.connected():
        await until(lambda: device.seqs == [1])
        await device.acknowledge(1)
        await device.acknowledge(1)
        [written] = device.written
        assert written.receipt is not None
        assert (written.receipt.seq, written.receipt.device_id) == (1, 7)
    again = Device(device.mailbox, device.store)
    async with again.connected():
        await until(lambda: again.emptied == 1)
        assert again.seqs == []


async def test_what_is_deposited_behind_a_cut_pass_does_not_wait_for_the_sweep(db: None, device: Device) -> None:
    await device.store.deposit(entries(device.mailbox, range(1, 601)))
    async with device.connected():
        await until(lambda: len(device.sent) == 256)
        await device.acknowledge(*range(1, 257))
        await until(lambda: len(device.sent) == 512)
        # Of an older transaction, so its place is on a page that the pass has left behind; and the window has no room for its hint.
        late = entries(device.mailbox, [1000], base=-900)
        await device.store.deposit(late)
        page = await device.store.pending(device.mailbox, since=Cursor(), now_ms=time.time_ns() // 10**6)
        device.delivery.offer(envelope for envelope in page.envelopes if envelope.seq == 1000)
        assert 1000 not in device.seqs
        await device.acknowledge(*range(257, 513))
        await until(lambda: 1000 in device.seqs)


async def test_a_cursor_from_a_clock_that_was_set_back_hides_nothing(
    db: None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "CURSOR_EVERY_SECONDS", 0)
    bucket = bucket_of(time.time_ns() // 10**6)
    await device.store.move_cursor(device.mailbox, Cursor(1, bucket + 100), now_ms=0)
    await device.store.deposit(entries(device.mailbox, [5]))
    async with device.connected():
        await until(lambda: device.seqs == [5])
        await device.acknowledge(5)
        device.delivery.look()
        await asyncio.sleep(0.2)
    moved = await device.store.cursor(device.mailbox)
    assert moved.low_position >= 5
    assert moved.low_bucket <= bucket


@pytest.mark.parametrize("days", [60, -10])
async def test_while_postgresqls_clock_is_wrong_no_cursor_passes_what_is_not_acknowledged(
    db: None, device: Device, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """By that clock all that waits is over, or of a time that is still to come: it is not read, and must be when the clock is right again."""
    monkeypatch.setattr(mailboxes, "CURSOR_EVERY_SECONDS", 0)
    await device.store.deposit(entries(device.mailbox, range(1, 6)))
    with monkeypatch.context() as wrong:
        wrong.setattr(outbox, "WATERMARK", outbox.WATERMARK.replace(CLOCK, f"{CLOCK} + interval '{days} days'"))
        async with device.connected():
            await until(lambda: device.emptied == 1)
            await asyncio.sleep(0.1)
    assert device.sent == []
    again = Device(device.mailbox, device.store)
    async with again.connected():
        await until(lambda: again.emptied == 1)
        assert again.seqs == [1, 2, 3, 4, 5]


class SilentStore(MemoryStore):
    """A store that is down for readers."""

    is_silent = True

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        if self.is_silent:
            raise StoreUnavailable
        return await super().cursor(mailbox)


async def test_a_store_that_is_down_does_not_hide_what_is_committed(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "RETRY_SECONDS", 0.05)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    await log.append([send(conversation, alice_phone, [bob_phone])])
    store = SilentStore()
    bob = Device(Mailbox(UUID(bob_phone.user_id), int(bob_phone.device_id)), store)
    async with bob.connected():
        await until(lambda: bob.seqs == [1])
        await log.append([send(conversation, alice_phone, [bob_phone])])
        await until(lambda: bob.seqs == [1, 2])
        assert bob.emptied == 0, "the mailbox was not read"
        store.is_silent = False
        await until(lambda: bob.emptied == 1)
        assert bob.seqs == [1, 2]


async def test_when_hints_come_back_a_crowd_looks_one_after_the_other(device: Device) -> None:
    device.delivery._crowd = lambda: 100
    device.delivery.subscribed()
    assert device.delivery._dirty.is_set(), "a socket that has just come looks at once"
    device.delivery._dirty.clear()
    others = [Device(device.mailbox, device.store) for _ in range(50)]
    for other in [device, *others]:
        other.delivery._crowd = lambda: 100
        other.delivery._subscribed.set()
        other.delivery.subscribed()
    await asyncio.sleep(0.5)
    looking = sum(other.delivery._dirty.is_set() for other in others)
    assert 5 < looking < 45, "half of a second has passed, so about half of them look"
    await until(lambda: all(other.delivery._dirty.is_set() for other in others))


async def test_while_the_store_is_down_all_that_is_committed_arrives_page_by_page_and_nothing_twice(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(undeposited, "LARGEST_LOOK", 7)
    monkeypatch.setattr(window, "ENVELOPES", 20)
    looks: list[int] = []
    of_user = outbox.of_user

    async def counted(*args: Any, **how: Any) -> Look:
        look = await of_user(*args, **how)
        looks.append(len(look.rows))
        return look

    monkeypatch.setattr(outbox, "of_user", counted)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    await log.append([send(conversation, alice_phone, [bob_phone]) for _ in range(50)])
    await sync_to_async(OutboxRow.objects.filter(seq=30).update)(bundle=b"\xc1")
    bob = Device(Mailbox(UUID(bob_phone.user_id), int(bob_phone.device_id)), SilentStore())
    async with bob.connected():
        await until(lambda: len(bob.sent) == 20)
        await asyncio.sleep(0.1)
        assert len(bob.sent) == 20, "the window bounds what is under way"
        while len(bob.sent) < 49:
            await bob.acknowledge(*bob.seqs)
            await until(lambda before=tuple(bob.seqs): tuple(bob.seqs) != before)  # type: ignore[misc]
        assert bob.seqs == [seq for seq in range(1, 51) if seq != 30]
        await bob.acknowledge(*bob.seqs)
        looks.clear()
        await log.append([send(conversation, alice_phone, [bob_phone])])
        await until(lambda: bob.seqs[-1] == 51)
        assert sum(looks) <= len(looks), "what was sent is not read again"
        assert bob.emptied == 0


async def test_a_large_outbox_is_read_to_its_end_before_the_queue_is_empty(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undeposited, "LARGEST_LOOK", 7)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    await log.append([send(conversation, alice_phone, [bob_phone]) for _ in range(50)])
    bob = Device(Mailbox(UUID(bob_phone.user_id), int(bob_phone.device_id)), MemoryStore())
    sent_before_empty: list[int] = []
    monkeypatch.setattr(bob.delivery, "_queue_empty", lambda: sent_before_empty.append(len(bob.sent)))
    async with bob.connected():
        await until(lambda: sent_before_empty == [50])
        assert bob.seqs == list(range(1, 51))
