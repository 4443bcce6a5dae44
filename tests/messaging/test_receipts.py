"""How far somebody has read: whatever a client says, in whatever order, the mark is true and only moves forward."""

import asyncio
import random
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from accounts import postgresql
from accounts.wire.refusals import InvalidRequest, NotFound
from conversations import founding, inbox, log, membership, tallies
from conversations.changes import Description
from conversations.founding import NewGroup
from conversations.models import Member
from conversations.tallies import BLOCK
from messaging import hints, receipts, runtime
from messaging.acks import Acknowledged
from messaging.envelopes import Ack, Mailbox, Notice, PrekeysLow, Receipt
from messaging.receipts import DeliveredReceipts, ToldReceipts
from messaging.store.memory import MemoryStore
from tests.aging import age, forget
from tests.cast import Installation
from tests.conversations_of import direct, send, sender
from tests.messaging.conftest import Connect
from tests.messaging.test_history import deposited
from tests.sockets import message
from tests.stances import sets

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("hot_road"),
]


@pytest.mark.parametrize("seed", range(5))
async def test_a_mark_never_goes_back_and_never_beyond_what_was_said(
    seed: int, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    dice = random.Random(seed)  # noqa: S311  (a schedule, not a secret)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    bob, eve = (Mailbox(UUID(device.user_id), int(device.device_id)) for device in (bob_phone, mallory))
    head = mark = 0
    for _ in range(30):
        if dice.random() < 0.3:
            head += len((await log.append([send(conversation, alice_phone, [bob_phone])])).entries)
        seq = dice.randint(1, head + 3)
        if seq > head:
            with pytest.raises(InvalidRequest):
                await receipts.read(bob, conversation, seq, MemoryStore())
        else:
            await receipts.read(bob, conversation, seq, MemoryStore())
            mark = max(mark, seq)
        with pytest.raises(NotFound):
            await receipts.read(eve, conversation, seq, MemoryStore())
        assert (await Member.objects.aget(user_id=bob.user_id)).last_read_seq == mark


@pytest.mark.parametrize("silent", ["reader", "sender", "nobody"])
async def test_who_does_not_want_read_receipts_neither_sends_nor_gets_them(
    silent: str,
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
) -> None:
    """The reader's other devices are told all the same: they count what is unread."""
    bob_tablet = await sync_to_async(bob_phone.beside("Bob's tablet").register)()
    unwilling = {"reader": bob_phone, "sender": alice_phone}.get(silent)
    if unwilling is not None:
        await sets(unwilling, "read_receipts", value=False)
    async with connect(alice_phone) as alice, connect(bob_phone) as bob, connect(bob_tablet) as tablet:
        assert (await alice.ask(message(alice_and_bob, [bob_phone, bob_tablet])))["type"] == "sent"
        await bob.say({"type": "read", "conversation_id": str(alice_and_bob), "seq": 1})
        assert (await tablet.expect("receipt"))["read_at"]
        if silent == "nobody":
            assert (await alice.expect("receipt"))["read_at"]
        else:
            await alice.nothing("receipt", seconds=0.4)
    marks = {one: await marks_seen_by(one) for one in (alice_phone.user_id, bob_phone.user_id)}
    both = {alice_phone.user_id: 0, bob_phone.user_id: 1}
    assert marks == {
        one: both if silent == "nobody" else both | {other: None for other in both if other != one} for one in marks
    }


@pytest.mark.parametrize("days", [0, 16], ids=["in the ledger", "forgotten by it"])
async def test_who_has_left_does_not_hear_that_those_who_stay_have_or_read_what_they_said(
    days: int, connect: Connect, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    """Alice stays and Mallory goes; Bob has been away, and gets what both have said."""
    bob_tablet = await sync_to_async(bob_phone.beside("Bob's tablet").register)()
    members = frozenset(UUID(one.user_id) for one in (alice_phone, mallory))
    there = await founding.found_group(sender(bob_phone), NewGroup(Description(name="Weekend"), members))
    everybody = [alice_phone, bob_phone, bob_tablet, mallory]
    async with connect(alice_phone) as alice, connect(mallory) as eve:
        for socket in (alice, eve):
            others = [device for device in everybody if device is not socket.device]
            assert (await socket.ask(message(there, others)))["type"] == "sent"
        await deposited()
        await age(there, range(1, 4), days=days)
        assert await forget() == (3 if days else 0)
        await membership.leave(sender(mallory), there)
        async with connect(bob_phone) as bob, connect(bob_tablet) as tablet:
            await bob.envelopes(4)
            assert (await alice.expect("receipt", seq=2, device_id=bob_phone.device_id))["delivered_at"]
            await bob.say({"type": "read", "conversation_id": str(there), "seq": 4})
            assert (await alice.expect("receipt", seq=2))["read_at"]
            # They count what is unread, whoever said it.
            assert {(await tablet.expect("receipt"))["seq"] for _ in range(2)} == {2, 3}
        assert (await eve.ask({"type": "ping"}))["type"] == "pong"
        assert [frame for frame in eve.unread if frame["type"] == "receipt"] == []


@pytest.mark.django_db(transaction=True)
def test_the_last_message_of_each_sender_is_found_in_tallies_however_many_there_are() -> None:
    dice, conversation, senders = random.Random(7), uuid4(), [uuid4() for _ in range(4)]  # noqa: S311
    said = {who: sorted(dice.sample(range(9 * BLOCK), dice.choice([3, 40, 900]))) for who in senders}
    rows = {(who, seq // BLOCK): ["0"] * BLOCK for who in senders for seq in range(0, 9 * BLOCK, BLOCK)}
    for who, seqs in said.items():
        for seq in seqs:
            rows[who, seq // BLOCK][seq % BLOCK] = "1"
    # Only some of the blocks without a mark are there.
    kept = {key: marks for key, marks in rows.items() if "1" in marks or dice.random() < 0.5}
    with connection.cursor() as cursor:
        for (who, block), marks in kept.items():
            insert = "INSERT INTO conversations_tally (conversation_id, block, sender_user_id, marks) VALUES (%s, %s, %s, %s::bit(1024))"
            cursor.execute(insert, [conversation, block, who, "".join(marks)])
        for _ in range(200):
            before, last = sorted(dice.choices(range(9 * BLOCK), k=2))
            cursor.execute(tallies.SENDERS, [conversation, before, last, senders[0]])
            between = {who: [seq for seq in said[who] if before < seq <= last] for who in senders[1:]}
            assert dict(cursor.fetchall()) == {who: max(seqs) for who, seqs in between.items() if seqs}


async def test_while_nobody_knows_who_is_a_member_no_delivery_is_told(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    alice, bob = (Mailbox(UUID(device.user_id), int(device.device_id)) for device in (alice_phone, bob_phone))
    receipt = Receipt(message_id=1, conversation_id=conversation, seq=1, user_id=bob.user_id, device_id=bob.device_id)
    acknowledged = Acknowledged(Ack(bob, 1, 1, 1), receipt, alice.user_id)
    told: list[UUID] = []
    monkeypatch.setattr(hints, "notify_many", told.extend)
    monkeypatch.setattr(postgresql.pool(), "is_refusing", True)
    delivered = DeliveredReceipts()
    delivered.announce([acknowledged])
    await delivered.drain()
    assert told == []
    monkeypatch.setattr(postgresql.pool(), "is_refusing", False)
    delivered.announce([acknowledged])
    await delivered.drain()
    assert told == [alice.user_id]


async def test_a_sender_hears_once_of_a_message_that_is_acknowledged_twice(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bob comes back, and acknowledges again, before his first ack is written."""
    store, written = (await runtime.running()).store, asyncio.Event()
    acknowledge = store.acknowledge

    async def late(acks: Sequence[Ack]) -> None:
        await written.wait()
        await acknowledge(acks)

    monkeypatch.setattr(store, "acknowledge", late)
    async with connect(alice_phone) as alice:
        assert (await alice.ask(message(alice_and_bob, [bob_phone])))["type"] == "sent"
        async with connect(bob_phone) as bob:
            await bob.envelopes(1)
            # Frames are heard in their order.
            await bob.ask({"type": "ping"})
        async with connect(bob_phone) as bob:
            await bob.envelopes(1)
            await bob.ask({"type": "ping"})
            written.set()
            assert (await alice.expect("receipt"))["seq"] == 1
            assert (await alice.ask(message(alice_and_bob, [bob_phone])))["type"] == "sent"
            await bob.envelopes(1)
            assert (await alice.expect("receipt"))["seq"] == 2


def receipt(
    message_id: int, *, by_device: int = 8, delivered_ms: int | None = 1, read_ms: int | None = None
) -> Receipt:
    return Receipt(
        message_id=message_id,
        conversation_id=UUID(int=1),
        seq=message_id,
        user_id=UUID(int=2),
        device_id=by_device,
        delivered_ms=delivered_ms,
        read_ms=read_ms,
    )


def test_a_delivery_is_told_once_and_everything_else_as_often_as_it_comes() -> None:
    told = ToldReceipts()
    assert told.tell_once(7, [receipt(1)]) == [receipt(1)]
    mark = receipt(1, delivered_ms=None, read_ms=1)
    news: list[Notice] = [receipt(2), receipt(1, by_device=9), mark, mark, PrekeysLow(3), PrekeysLow(3)]
    assert told.tell_once(7, [receipt(1), *news, receipt(2)]) == news
    assert told.tell_once(70, [receipt(1)]) == [receipt(1)], "another device has not heard it"


def test_as_much_is_remembered_as_is_said_and_no_more_than_twice_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "REMEMBERED", 3)
    told, many = ToldReceipts(), [receipt(message_id) for message_id in range(1, 8)]
    assert told.tell_once(7, many) == many
    assert told.tell_once(7, many[-3:]) == []
    assert told.tell_once(7, many[:1]) == many[:1]


async def marks_seen_by(user_id: str) -> dict[str, int | None]:
    conversation_id = (await Member.objects.aget(user_id=user_id)).conversation_id
    seen = await sync_to_async(inbox.members)(UUID(user_id), conversation_id)
    return {str(one.member.user_id): one.last_read_seq for one in seen}
