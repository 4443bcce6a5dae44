"""The store in Cassandra keeps the contract, on a real node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from conversations.entries import LogEntry
from messaging.envelopes import Cursor, Heartbeat, Mailbox
from messaging.store import cassandra, cql_timing
from messaging.store.bridge import ReadGivenUp
from messaging.store.cassandra import CassandraStore, microseconds
from messaging.store.cql_timing import seconds_until
from messaging.store.protocol import RETENTION_MS, MessageStore, StoreRefused, StoreUnavailable, bucket_of
from messaging.store.slices import Slice
from tests.messaging.store.contract import Damage, MessageStoreContract, OpenStore, chat
from tests.messaging.store.people import DAY, MINUTE, Chat, ack, drain, seqs

__all__ = ["chat"]
SPOIL = """
UPDATE {ks}.message_deliveries USING TIMESTAMP {later} SET envelope = 0xc1
WHERE user_id = %s AND bucket = %s AND device_id = %s AND position = %s AND message_id = %s
"""
# A test node reads over 200 cells (chatproject/launcher/cassandra.py); a row has three that end.
NODE_READS_OVER = 67
pytestmark = pytest.mark.cassandra


@pytest.fixture
async def store_of_a_worker(keyspace: dict[str, Any]) -> AsyncIterator[OpenStore]:
    opened = []

    async def one(ahead_ms: int) -> MessageStore:
        store = CassandraStore(keyspace, clock=lambda: microseconds() + ahead_ms * 1000)
        opened.append(store)
        # A node that is busy with what another test has left may need longer than a store waits.
        for _ in range(3):
            with suppress(StoreUnavailable):
                await store.open()
                break
        return store

    yield one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(store_of_a_worker: OpenStore) -> MessageStore:
    return await store_of_a_worker(0)


@pytest.fixture
def damage() -> Damage:
    async def spoil(store: MessageStore, mailbox: Mailbox, entry: LogEntry) -> None:
        assert isinstance(store, CassandraStore)
        assert store._keyspace._bridge is not None
        key = (mailbox.user_id, bucket_of(entry.kept_ms), mailbox.device_id, entry.position, entry.message_id)
        spoiling = SPOIL.format(ks=store._keyspace._config["keyspace"], later=entry.kept_ms * 1000 + 1)
        store._keyspace._bridge._session.execute(spoiling, key)

    return spoil


class TestCassandraStore(MessageStoreContract):
    async def test_no_write_is_of_the_future_however_often_postgresql_was_restored(
        self, store: MessageStore, chat: Chat
    ) -> None:
        """ScyllaDB refuses writes of the future. An accepted restore raises the era by sixteen at least."""
        assert isinstance(store, CassandraStore)
        assert store._keyspace._bridge is not None
        execute, keyspace = store._keyspace._bridge._session.execute, store._keyspace._config["keyspace"]
        await store.beat(Heartbeat(7, 1, 1 + 10 * 17, 10**9), now_ms=chat.now)
        await store.move_cursor(chat.phone, Cursor(170 << 48 | 10**9, 3), now_ms=chat.now)
        [beat] = execute(f"SELECT WRITETIME(beat) FROM {keyspace}.store_heartbeat WHERE id = 1")  # noqa: S608  (a name)
        # The keyspace is every test's, and this is its highest beat.
        execute(f"TRUNCATE {keyspace}.store_heartbeat")
        [cursor] = execute(
            f"SELECT WRITETIME(low_position) FROM {keyspace}.mailbox_cursors WHERE user_id = %s AND device_id = %s",  # noqa: S608
            (chat.phone.user_id, chat.phone.device_id),
        )
        assert beat[0] < microseconds()
        assert cursor[0] < microseconds()


@pytest.mark.parametrize("years", [11, 15, 19, 30])
async def test_content_that_expires_after_the_last_moment_a_node_can_write_is_kept(
    store: MessageStore, chat: Chat, years: int
) -> None:
    message = chat.entry(shared=b"for all", expires_ms=chat.now + years * 365 * DAY)
    await store.deposit([message])
    assert [(one.shared, one.expires_ms) for one in await drain(store, chat.phone)] == [
        (b"for all", message.expires_ms)
    ]


async def ttls(store: MessageStore, entry: LogEntry, mailbox: Mailbox) -> tuple[int, int]:
    """The seconds that are left to the shared content and to the mailbox row."""
    assert isinstance(store, CassandraStore)
    assert store._keyspace._bridge is not None
    execute, keyspace = store._keyspace._bridge._session.execute, store._keyspace._config["keyspace"]
    [content] = execute(
        f"SELECT TTL(content) FROM {keyspace}.messages WHERE conversation_id = %s AND bucket = %s AND seq = %s",  # noqa: S608  (a name)
        (entry.conversation_id, entry.seq // 1024, entry.seq),
    )
    [row] = execute(
        f"SELECT TTL(envelope) FROM {keyspace}.message_deliveries WHERE user_id = %s AND bucket = %s AND device_id = %s"  # noqa: S608
        " AND position = %s AND message_id = %s",
        (mailbox.user_id, bucket_of(entry.kept_ms), mailbox.device_id, entry.position, entry.message_id),
    )
    return content[0], row[0]


async def test_shared_content_outlives_the_mailbox_row_that_needs_it(store: MessageStore, chat: Chat) -> None:
    message = chat.entry(shared=b"for all", expires_ms=chat.now + 10 * MINUTE)
    await store.deposit([message])
    content, row = await ttls(store, message, chat.phone)
    # An hour more than it is shown, for workers whose clocks are ahead.
    assert 3600 + 500 < row <= 3600 + 600
    assert content >= row + 3590


@pytest.mark.parametrize("ahead_ms", [5 * MINUTE, 60 * MINUTE])
async def test_what_expires_is_there_until_then_whatever_the_clock_of_the_worker_says(
    store_of_a_worker: OpenStore, chat: Chat, ahead_ms: int
) -> None:
    message = chat.entry(shared=b"for all", expires_ms=chat.now + 10 * MINUTE)
    await (await store_of_a_worker(ahead_ms)).deposit([message])
    now = await store_of_a_worker(0)
    page = await now.pending(chat.phone, since=Cursor(0, bucket_of(chat.now)), now_ms=chat.now)
    assert ([envelope.shared for envelope in page.envelopes], page.unreadable) == ([b"for all"], ())
    assert min(await ttls(now, message, chat.phone)) > 9 * 60


async def test_a_reader_comes_on_however_long_each_request_takes(
    store: MessageStore, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cassandra, "PENDING_SECONDS", 0.0)
    entries = chat.entries(5)
    await store.deposit(entries)
    page = await store.pending(chat.phone, since=Cursor(0, bucket_of(chat.now - 6 * DAY)), now_ms=chat.now)
    assert (page.envelopes, page.next_page is None) == ((), False), "one bucket, and not the one it is in"
    assert await seqs(store, chat.phone) == [entry.seq for entry in entries]


async def test_a_row_that_is_written_late_or_again_ends_when_it_was_to_end(
    store_of_a_worker: OpenStore, chat: Chat
) -> None:
    after_44_days, now = await store_of_a_worker(44 * DAY), await store_of_a_worker(0)
    late, both = (chat.entry(shared=b"for all", expires_ms=chat.now + 60 * DAY) for _ in range(2))
    await after_44_days.deposit([late])
    assert 24 * 3600 < (await ttls(now, late, chat.phone))[1] <= 25 * 3600, "and an hour"
    await now.deposit([both])
    await after_44_days.deposit([both])
    assert (await ttls(now, both, chat.phone))[1] > 44.9 * 24 * 3600, "a later write does not cut it short either"


async def test_one_pending_row_is_found_behind_100_000_acknowledged_ones(store: MessageStore, chat: Chat) -> None:
    acks = [ack(chat.phone, entry) for entry in chat.entries(100_000)]
    waiting = chat.entry()
    for start in range(0, len(acks), 1000):
        await store.acknowledge(acks[start : start + 1000])
    await store.deposit([waiting])
    assert await seqs(store, chat.phone) == [waiting.seq]


async def test_what_waits_is_found_behind_more_ended_rows_than_a_node_reads_over(
    store: MessageStore, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends much that expires soon must not make a mailbox unreadable."""
    monkeypatch.setattr(cql_timing, "SHORTEST_TTL", 1)
    monkeypatch.setattr(cassandra, "ROW_LIVES_LONGER", 0)
    front, one = chat.entries(20), chat.entry()
    same_position = chat.entry(position=one.position)
    ended = chat.entries(6 * NODE_READS_OVER, expires_ms=chat.now + 1000)
    middle, more = chat.entry(), chat.entries(2 * NODE_READS_OVER, expires_ms=chat.now + 1000)
    last = chat.entry()
    for some in ([*front, one, same_position], ended[::2], ended[1::2], [middle], more, [last]):
        await store.deposit(some)
    await asyncio.sleep(3)
    assert isinstance(store, CassandraStore)
    assert await store._read(chat.phone, Slice.whole(bucket_of(chat.now), after=0), 1000) is None
    # Pages that end among the rows in front, so that what is given up is the second one.
    for low_position in (0, front[0].position - 1):
        found = await seqs(store, chat.phone, low_position=low_position, limit=16)
        assert sorted(set(found)) == [entry.seq for entry in (*front, one, same_position, middle, last)]
        assert found == sorted(found)
        assert len(found) <= len(set(found)) + 1, "what was read before a page was given up does not come again"


async def test_a_read_that_fails_however_little_is_asked_for_is_a_fault(
    store: MessageStore, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node may fail for another reason: then the mailbox is not empty, it is unknown."""
    assert isinstance(store, CassandraStore)
    await store.deposit([chat.entry()])

    async def gives_up(*_: object, **__: object) -> None:
        raise ReadGivenUp

    with monkeypatch.context() as patched:
        patched.setattr(store._keyspace, "select", gives_up)
        with pytest.raises(StoreUnavailable):
            await drain(store, chat.phone)
    assert await seqs(store, chat.phone) == [1]


async def test_what_a_node_refuses_is_no_store_that_is_away(
    store: MessageStore, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(cassandra, "seconds_until", lambda *_: 21 * 365 * 24 * 3600)
        with pytest.raises(StoreRefused):
            await store.deposit([chat.entry()])
    await store.deposit([chat.entry()])


def test_a_ttl_ends_before_2038_and_is_never_cut_short_for_what_lies_in_mailboxes() -> None:
    def at(year: int) -> int:
        return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())

    century = at(2100) * 1000
    assert at(2026) + seconds_until(century, at(2026) * 10**6) == at(2038) + 17 * 24 * 3600 + 3 * 3600 + 14 * 60 + 6
    assert seconds_until(century, at(2000) * 10**6) == 20 * 365 * 24 * 3600
    assert seconds_until(at(2038) * 1000 + RETENTION_MS, at(2038) * 10**6) == RETENTION_MS // 1000
    assert seconds_until(at(2020) * 1000, at(2026) * 10**6) == 60
