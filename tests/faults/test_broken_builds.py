"""Each broken build does what its name says, in the real code; and nothing of it remains afterwards."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import FunctionType
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from redis import asyncio as redis

from accounts.wire.refusals import MismatchedDevices, StorageUnavailable
from conversations import log, membership, outbox
from conversations.entries import LogEntry
from conversations.models import Conversation, LedgerRow, Member
from conversations.sends import Committed, Send, Sent
from messaging import mailboxes
from messaging.consumers import DeviceConsumer
from messaging.envelopes import Mailbox
from messaging.finisher import Finisher
from messaging.group_commit import GroupCommit
from messaging.mailboxes import Delivery
from messaging.relay import Relay
from messaging.store.cassandra import CassandraStore, microseconds
from messaging.store.memory import MemoryStore
from messaging.window import Window
from tests.cast import Installation
from tests.conversations_of import PRESENT_ERA, direct, send, sender
from tests.faults import broken
from tests.faults.broken import lag_cursor, no_hold_back, redis_dedupe, stale_audience, surgery
from tests.faults.broken.expected import CAUGHT_BY
from tests.faults.store_search import in_cassandra
from tests.messaging.conftest import Connect, alice_and_bob, alice_laptop, connect, server
from tests.messaging.store.conftest import keyspace
from tests.messaging.store.people import Chat, ack
from tests.messaging.test_mailboxes import LATER, Device, entries
from tests.sockets import message
from tests.waiting import until

__all__ = ["alice_and_bob", "alice_laptop", "connect", "keyspace", "server"]
real = pytest.mark.django_db(transaction=True, databases=["default", "messages"])
on_the_hot_road = pytest.mark.usefixtures("hot_road")


@pytest.fixture
def bob() -> Device:
    return Device(Mailbox(uuid4(), 7), MemoryStore())


async def cursor_of(device: Device) -> int:
    return (await device.store.cursor(device.mailbox)).low_position


# --- putting them in, and taking them out ------------------------------------------------------------------------------------------


def functions_of_the_product() -> dict[str, Any]:
    owners = (Delivery, Window, Relay, Finisher, GroupCommit, CassandraStore, DeviceConsumer, log, mailboxes)
    return {f"{owner}.{name}": value for owner in owners for name, value in vars(owner).items()}


@pytest.mark.parametrize("name", broken.NAMES)
def test_a_build_is_put_in_by_name_and_taken_out_without_a_trace(name: str) -> None:
    whole = functions_of_the_product()
    with broken.installed(name):
        assert broken.build() == name
        assert (functions_of_the_product() == whole) is (name == "no_hold_back")
    assert functions_of_the_product() == whole
    assert broken.build() == ""


def test_of_each_build_it_is_known_how_it_is_caught() -> None:
    assert set(CAUGHT_BY) == set(broken.NAMES)


def test_a_process_has_one_broken_rule_and_knows_no_other_names() -> None:
    with pytest.raises(broken.UnknownBuild):
        broken.install("no_such_rule")
    with broken.installed("range_ack"), pytest.raises(broken.UnknownBuild):
        broken.install("no_finisher")


class Clock:
    def tell(self, *, zone: str) -> str:
        return "noon in " + zone


def test_code_that_is_no_longer_what_a_build_was_made_for_is_refused() -> None:
    with pytest.raises(surgery.Misfit, match="has 0 times"):
        surgery.rewrite(Clock, "tell", ("midnight", "noon"))
    with pytest.raises(surgery.Misfit, match="no function"):
        surgery.rewrite(Clock, "chime", ("a", "b"))
    with pytest.raises(surgery.Misfit, match="signature"):
        surgery.replace(Clock, "tell", lambda: "", signature="(self)")
    with pytest.raises(surgery.Misfit):
        surgery.set_constant(mailboxes, "CURSOR_EVERY_SECONDS", 1)


def test_a_rewritten_function_is_the_same_but_for_the_change_and_comes_back_whole() -> None:
    surgery.rewrite(Clock, "tell", ('"noon in "', "hour()"), hour=lambda: "midnight in ")
    rewritten = vars(Clock)["tell"]
    assert isinstance(rewritten, FunctionType)
    assert rewritten.__qualname__ == "Clock.tell"
    assert Clock().tell(zone="Bangkok") == "midnight in Bangkok"
    surgery.undo()
    assert Clock().tell(zone="Bangkok") == "noon in Bangkok"


# --- the drain -------------------------------------------------------------------------------------------------------------------


@real
@on_the_hot_road
async def test_cursor_max_seen_passes_over_what_was_sent_and_not_acknowledged(bob: Device) -> None:
    await bob.store.deposit(entries(bob.mailbox, range(1, 6)))
    with broken.installed("cursor_max_seen"):
        async with bob.connected():
            await until(lambda: bob.emptied == 1)
    assert await cursor_of(bob) == 5


@real
@on_the_hot_road
async def test_lag_cursor_passes_over_what_is_old_and_not_acknowledged(
    bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_cursor, "LAG_MS", -1)
    await bob.store.deposit(entries(bob.mailbox, range(1, 6)))
    with broken.installed("lag_cursor"):
        async with bob.connected():
            await until(lambda: bob.emptied == 1)
            bob.delivery.look()
            await asyncio.sleep(0.2)
    assert await cursor_of(bob) == 5


@real
@on_the_hot_road
async def test_cursor_incomplete_pass_passes_over_what_the_window_kept_back(bob: Device) -> None:
    await bob.store.deposit(entries(bob.mailbox, range(1, 600)))
    with broken.installed("cursor_incomplete_pass"):
        async with bob.connected():
            await until(lambda: len(bob.sent) == 256)
            await bob.acknowledge(*range(1, 257))
            await until(lambda: len(bob.sent) == 512)
    again = Device(bob.mailbox, bob.store)
    async with again.connected():
        await until(lambda: again.emptied == 1)
        assert again.seqs == [], "343 messages are lost"


class SlowToRead(MemoryStore):
    """Answers with what was there when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.read = asyncio.Event()

    async def pending(self, *args: Any, **options: Any) -> Any:
        page = await super().pending(*args, **options)
        self.read.set()
        await asyncio.sleep(0.1)
        return page


@real
@on_the_hot_road
@pytest.mark.parametrize(("build", "found"), [("", [1]), ("flag_after_read", [])])
async def test_flag_after_read_forgets_what_was_announced_while_it_read(build: str, found: list[int]) -> None:
    store = SlowToRead()
    bob = Device(Mailbox(uuid4(), 7), store)
    with broken.installed(build or "no_hold_back"):
        async with bob.connected():
            await until(store.read.is_set)
            await store.deposit(entries(bob.mailbox, [1], base=LATER))
            bob.delivery.look()
            await asyncio.sleep(0.5)
            assert bob.seqs == found


@real
@on_the_hot_road
async def test_range_ack_acknowledges_what_was_never_acknowledged(bob: Device) -> None:
    await bob.store.deposit(entries(bob.mailbox, [2, 3]))
    with broken.installed("range_ack"):
        async with bob.connected():
            await until(lambda: bob.seqs == [2, 3])
            await bob.acknowledge(3)
            await asyncio.sleep(0.1)
        await bob.store.deposit(entries(bob.mailbox, [1]))
    again = Device(bob.mailbox, bob.store)
    async with again.connected():
        await until(lambda: again.emptied == 1)
        assert again.seqs == [], "neither 2, which was not acknowledged, nor 1, which was not there yet"


# --- hints ---------------------------------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize(("build", "arrives"), [("", True), ("subscribe_late", False)])
async def test_subscribe_late_does_not_hear_of_what_comes_during_the_first_drain(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    monkeypatch: pytest.MonkeyPatch,
    build: str,
    arrives: bool,  # noqa: FBT001  (a parameter)
) -> None:
    read, go_on = asyncio.Event(), asyncio.Event()
    end_pass = Delivery._end_pass

    async def slow_to_end(delivery: Delivery, reading: Any) -> None:
        read.set()
        await go_on.wait()
        await end_pass(delivery, reading)

    with broken.installed(build or "no_hold_back"):
        async with connect(alice_phone) as alice:
            await alice.expect("queue_empty")
            monkeypatch.setattr(Delivery, "_end_pass", slow_to_end)
            async with connect(bob_phone) as bob:
                await until(read.is_set)
                await alice.ask(message(alice_and_bob, [bob_phone]))
                await asyncio.sleep(0.3)
                go_on.set()
                await bob.expect("queue_empty")
                if arrives:
                    assert bob.unread or await bob.expect("envelope")
                else:
                    await bob.nothing("envelope", seconds=0.5)
                    assert bob.unread == []


# --- commits -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def conversation(alice_phone: Installation, bob_phone: Installation) -> UUID:
    return direct(alice_phone, bob_phone)


@real
@on_the_hot_road
async def test_ack_before_commit_says_sent_of_what_is_never_committed(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(conn: Any, made: Any, heads: Any) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(log, "write", fail)
    with broken.installed("ack_before_commit"):
        commits = GroupCommit(log.append, lambda _: None)
        outcome = await commits.submit(send(conversation, alice_phone, [bob_phone]))
        await commits.close()
    assert isinstance(outcome, Sent)
    assert await sync_to_async(LedgerRow.objects.count)() == 0


@sync_to_async
def without_unique_key() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'one_entry_per_send')")
        return bool(cursor.fetchone()[0])


@pytest.fixture
def unique_key_back(transactional_db: None) -> Iterator[None]:
    """The ledger of these tests has its unique key again."""
    yield
    LedgerRow.objects.all().delete()
    columns = "conversation_id, sender_device_id, client_message_id"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE conversations_ledger DROP CONSTRAINT IF EXISTS one_entry_per_send")
        cursor.execute(f"ALTER TABLE conversations_ledger ADD CONSTRAINT one_entry_per_send UNIQUE ({columns})")


@real
@on_the_hot_road
async def test_redis_dedupe_commits_a_retry_again_once_redis_was_emptied(
    unique_key_back: None,
    conversation: UUID,
    alice_phone: Installation,
    bob_phone: Installation,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_dedupe, "memory", redis_dedupe.RedisMemory())
    hello = send(conversation, alice_phone, [bob_phone])
    with broken.installed("redis_dedupe"):
        assert [outcome.seq async for outcome in said(hello, hello)] == [1, 1]
        async with redis.from_url(redis_url) as client:
            await client.flushdb()
        assert [outcome.seq async for outcome in said(hello)] == [2]
    assert await without_unique_key()


async def said(*sends: Send) -> AsyncIterator[Sent]:
    for one in sends:
        [outcome] = (await log.append([one])).outcomes
        assert isinstance(outcome, Sent)
        yield outcome


@pytest.fixture
def stretched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time enough, on a busy machine too, for a change between the audience that is read too early and the lock."""
    monkeypatch.setattr(stale_audience, "STRETCHED_SECONDS", 1.0)


async def while_it_is_sent(one: Send, change: Callable[[], Any]) -> Committed:
    """Commit a send, and make the change after its audience was read where it is read too early."""
    sending = asyncio.create_task(log.append([one]))
    await asyncio.sleep(0.4)
    await sync_to_async(change)()
    return await sending


@real
@on_the_hot_road
async def test_devcheck_outside_leaves_out_a_device_that_is_in_the_log_already(
    stretched: None, conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    assert await sync_to_async(LedgerRow.objects.count)() == 0
    laptop = bob_phone.beside("Bob's laptop")
    with broken.installed("devcheck_outside"):
        committed = await while_it_is_sent(send(conversation, alice_phone, [bob_phone]), laptop.register)
    [outcome] = committed.outcomes
    assert isinstance(outcome, Sent), "its sender was not told of the laptop"
    [whole] = (await log.append([send(conversation, alice_phone, [bob_phone])])).outcomes
    assert isinstance(whole, MismatchedDevices)


@sync_to_async
def group(owner: Installation, *others: Installation) -> UUID:
    """A group somebody has spoken in, so that devices are known to its log."""
    made = Conversation.objects.create(kind="group", name="friends", last_position=PRESENT_ERA)
    Member.objects.create(conversation=made, user_id=owner.user_id, role="owner", joined_seq=1)
    for other in others:
        Member.objects.create(conversation=made, user_id=other.user_id, joined_seq=1)
    return made.pk


@real
@on_the_hot_road
@pytest.mark.parametrize("build", ["devcheck_outside", "no_membership_lock"])
async def test_no_membership_lock_sends_to_somebody_who_was_removed_before(
    stretched: None, build: str, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    friends = await group(alice_phone, bob_phone, mallory)
    with broken.installed(build):
        sending = asyncio.create_task(log.append([send(friends, alice_phone, [bob_phone, mallory])]))
        await asyncio.sleep(0.4)
        await membership.remove(sender(alice_phone), friends, UUID(mallory.user_id))
        [outcome] = (await sending).outcomes
    if build == "no_membership_lock":
        assert isinstance(outcome, Sent)
        [entry] = [entry for entry in await outbox.of_conversation(friends, 1, 9) if entry.kind == "message"]
        assert int(mallory.device_id) in [to.device_id for to in entry.recipients]
        assert entry.seq > 1, "after the entry that says she was removed"
    else:
        assert isinstance(outcome, MismatchedDevices)


# --- what is left ----------------------------------------------------------------------------------------------------------------------


@real
@on_the_hot_road
async def test_no_finisher_leaves_what_a_dead_worker_left(
    conversation: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    await log.append([send(conversation, alice_phone, [bob_phone])])
    await expire_claims()
    with broken.installed("no_finisher"):
        assert await finished() == 0
    assert await finished() == 1


@sync_to_async
def expire_claims() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE conversations_outbox SET claimed_until = now() - interval '1 second'")


async def finished() -> int:
    """How many entries a finisher deposits."""
    deposited: list[LogEntry] = []
    finisher = asyncio.create_task(
        Finisher(Relay(MemoryStore(), deposited.extend, deposited.extend, deposited.extend)).run()
    )
    await asyncio.sleep(0.5)
    finisher.cancel()
    await asyncio.gather(finisher, return_exceptions=True)
    return len(deposited)


@pytest.mark.cassandra
@pytest.mark.parametrize(("build", "back"), [("", 0), ("worker_clock", 1)])
async def test_worker_clock_brings_the_ciphertext_of_an_acknowledged_message_back(
    keyspace: Mapping[str, Any], build: str, back: int
) -> None:
    before = await asyncio.to_thread(in_cassandra, keyspace)
    with broken.installed(build or "no_hold_back"):
        store = CassandraStore(keyspace)
        late = CassandraStore(keyspace, clock=lambda: microseconds() + 60_000_000)
        await store.open()
        await late.open()
        chat = Chat()
        entry = chat.entry()
        await store.deposit([entry])
        await store.acknowledge([ack(chat.phone, entry)])
        await late.deposit([entry])
    after = await asyncio.to_thread(in_cassandra, keyspace)
    assert after.acknowledged - before.acknowledged == 1
    assert after.with_content - before.with_content == back
    await store.close()
    await late.close()


# --- clients -----------------------------------------------------------------------------------------------------------------------------


def test_no_hold_back_is_a_word_to_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    assert no_hold_back.holds_back()
    with broken.installed("no_hold_back"):
        assert not no_hold_back.holds_back()
    monkeypatch.setenv(broken.VARIABLE, "no_hold_back")
    assert not no_hold_back.holds_back()
