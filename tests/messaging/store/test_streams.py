"""An answer goes to whoever has asked, also when a node sends it elsewhere."""

import asyncio
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from cassandra import DriverException
from cassandra.cluster import Cluster, NoHostAvailable

from chatproject.launcher.cassandra import TEST, CassandraNode
from messaging.store.bridge import AnotherAnswer, Bridge
from messaging.store.cassandra import CassandraStore
from messaging.store.cql_values import bigint, integer
from messaging.store.profiles import READS, WRITES, cluster_options
from messaging.store.protocol import StoreUnavailable, bucket_of
from messaging.store.slices import HIGHEST_POSITION
from messaging.store.streams import ASTRAY, HIGHEST, OwnStreams
from tests.messaging.store.people import Chat, seqs

pytestmark = pytest.mark.cassandra

# What waits longer than the node has patience is answered astray.
PATIENCE, STOPPED_SECONDS, PAUSE_SECONDS, MOST_STOPS = "400ms", 1.0, 0.8, 20
ENOUGH_ASTRAY = 50
KEYS, READERS, TRIES = 40, 300, 10


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[CassandraNode]:
    """A node of its own that soon gives up what waits in its queue."""
    profile = replace(TEST, settings=f"{TEST.settings}native_transport_timeout: {PATIENCE}\n")
    node = CassandraNode(tmp_path / "cassandra", profile=profile)
    node.start()
    yield node
    node.stop(hurry=True)


@pytest.fixture
def astray(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what arrives astray, and goes where it always does."""
    found: Counter[str] = Counter()
    process = OwnStreams.process_msg

    def counted(self: OwnStreams, header: Any, body: Any) -> None:
        found["astray"] += header.stream == ASTRAY
        process(self, header, body)

    monkeypatch.setattr(OwnStreams, "process_msg", counted)
    return found


@contextmanager
def connected(node: CassandraNode) -> Iterator[Any]:
    """A session as the store has it, and a table."""
    session = _sooner_or_later(partial(_connect, node))
    try:
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        for statement in (
            f"CREATE KEYSPACE IF NOT EXISTS k WITH replication = {replication}",
            "CREATE TABLE IF NOT EXISTS k.t (key int PRIMARY KEY, content blob)",
        ):
            _sooner_or_later(partial(session.execute, statement, timeout=10))
        yield session
    finally:
        session.cluster.shutdown()


def _connect(node: CassandraNode) -> Any:
    """Each try has a cluster of its own: one that could not connect is shut down for good."""
    cluster = Cluster([node.address], **cluster_options({"port": 9042, "dc": "dc1", "user": "", "password": ""}))
    try:
        return cluster.connect()
    except BaseException:
        cluster.shutdown()
        raise


def _sooner_or_later(work: Callable[[], Any]) -> Any:
    """Such a node may lose any answer, those at the beginning too."""
    for _ in range(TRIES):
        with suppress(DriverException, NoHostAvailable):
            return work()
        time.sleep(PAUSE_SECONDS)
    return work()


class Asking:
    """Readers that each want the row of a key by chance, and look whose they get."""

    def __init__(self, session: Any) -> None:
        self._bridge = Bridge(session)
        self._insert = _sooner_or_later(partial(session.prepare, "INSERT INTO k.t (key, content) VALUES (?, ?)"))
        self._select = _sooner_or_later(partial(session.prepare, "SELECT key FROM k.t WHERE key = ?"))
        self.over = asyncio.Event()
        self.seen: Counter[str] = Counter()

    async def fill(self) -> None:
        for key in range(KEYS):
            for _ in range(TRIES):
                with suppress(StoreUnavailable):
                    await self._bridge.tell([self._insert.bind((key, b""))], profile=WRITES)
                    break

    async def read(self) -> None:
        while not self.over.is_set():
            key = random.randrange(KEYS)  # noqa: S311
            try:
                answer = await self._bridge.ask(self._select.bind((key,)), profile=READS)
            except StoreUnavailable:
                self.seen["unavailable"] += 1
            else:
                self.seen["right" if answer.rows == [(key,)] else "wrong"] += 1


async def test_a_busy_node_that_answers_astray_mixes_up_nothing(impatient: CassandraNode, astray: Counter[str]) -> None:
    with connected(impatient) as session:
        asking = Asking(session)
        await asking.fill()
        readers = [asyncio.create_task(asking.read()) for _ in range(READERS)]
        await _stop_now_and_then(psutil.Process(impatient.pid), until=lambda: astray["astray"] >= ENOUGH_ASTRAY)
        asking.over.set()
        await asyncio.gather(*readers)
    assert astray["astray"], "this Cassandra answers where it was asked: is `streams` needed still?"
    assert asking.seen["right"] > READERS
    assert not asking.seen["wrong"], asking.seen


async def _stop_now_and_then(process: psutil.Process, *, until: Callable[[], bool]) -> None:
    for _ in range(MOST_STOPS):
        await asyncio.sleep(PAUSE_SECONDS)
        process.suspend()
        await asyncio.sleep(STOPPED_SECONDS)
        process.resume()
        if until():
            break
    await asyncio.sleep(2 * PAUSE_SECONDS)


async def test_a_connection_with_an_answer_that_nobody_asked_for_is_given_up(keyspace: Mapping[str, Any]) -> None:
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    connections = _connections(store)
    assert connections
    for connection in connections:
        connection.process_msg(SimpleNamespace(stream=99), b"")
    assert all(connection.is_defunct for connection in connections)
    await _until_well(store)
    assert await seqs(store, chat.phone) == [1]
    assert not set(map(id, connections)) & set(map(id, _connections(store)))
    await store.close()


async def test_a_stream_that_waits_for_its_answer_is_not_used_again(keyspace: Mapping[str, Any]) -> None:
    """Whatever has brought its number among the free ones."""
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    former = _connections(store)
    for connection in former:
        with connection.lock:
            connection._asked.update(range(1, 1000))
    with pytest.raises(StoreUnavailable):
        await store.probe()
    assert any(connection.is_defunct for connection in former)
    await _until_well(store)
    await store.close()


async def test_a_connection_whose_numbers_run_out_is_replaced(keyspace: Mapping[str, Any]) -> None:
    """Each answer that went astray has cost one, and the driver would wait for the last of them on the loop's thread."""
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    worn = _connections(store)
    for connection in worn:
        with connection.lock:
            connection.request_ids.clear()
            connection.highest_request_id = HIGHEST
    for _ in range(3):
        with suppress(StoreUnavailable):
            await store.probe()
    assert any(connection.is_defunct for connection in worn)
    await _until_well(store)
    assert await seqs(store, chat.phone) == [1]
    await store.close()


async def test_a_renewal_does_not_bring_back_what_is_distrusted_meanwhile(
    keyspace: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    former, connected = store._keyspace._bridge, store._keyspace._connected
    assert former is not None
    half_way, may_go_on = threading.Event(), threading.Event()

    def slowly() -> Any:
        half_way.set()
        may_go_on.wait()
        return connected()

    monkeypatch.setattr(store._keyspace, "_connected", slowly)
    renewal = store._keyspace._connecting()
    await asyncio.to_thread(half_way.wait)
    store._keyspace._distrust(former)
    may_go_on.set()
    await renewal
    assert store._keyspace._bridge not in (None, former)
    await _until_well(store)
    assert await seqs(store, chat.phone) == [1]
    await store.close()


async def test_a_connection_that_was_closed_while_nothing_was_asked_holds_up_no_loop(
    keyspace: Mapping[str, Any],
) -> None:
    """As by a node that stops in good order, or a firewall. The driver would wait two seconds for another one, on the thread that asks."""
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    former = _connections(store)
    assert former
    for connection in former:
        connection._socket.shutdown(socket.SHUT_RDWR)
    async with asyncio.timeout(10):
        while not all(connection.is_closed for connection in former):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    steps = asyncio.create_task(_longest_step())
    await asyncio.sleep(0)
    for _ in range(5):
        with suppress(StoreUnavailable):
            await store.probe()
    await _until_well(store)
    steps.cancel()
    assert await steps < 1.5
    assert await seqs(store, chat.phone) == [1]
    await store.close()


async def _longest_step() -> float:
    """How long the loop was busy with one thing at most, until this is cancelled."""
    longest, last = 0.0, time.monotonic()
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


async def test_rows_of_somebody_else_are_no_answer(keyspace: Mapping[str, Any]) -> None:
    store, chat = CassandraStore(keyspace), Chat()
    entry = chat.entry()
    await store.deposit([entry])
    phone = chat.phone
    key = (phone.user_id.bytes, integer(bucket_of(entry.kept_ms)), bigint(phone.device_id))
    values = (*key, bigint(0), bigint(HIGHEST_POSITION))
    found = await store._keyspace.select("PENDING", values, owner=phone.device_id)
    assert len(found.rows) == 1
    former = store._keyspace._cluster
    with pytest.raises(AnotherAnswer):
        await store._keyspace.select("PENDING", values, owner=phone.device_id + 1)
    await _until_well(store)
    assert await seqs(store, phone) == [1]
    assert store._keyspace._cluster is not former, "who answers so once is not asked again"
    await store.close()


async def test_that_something_was_written_is_no_answer_to_a_question(keyspace: Mapping[str, Any]) -> None:
    """An empty page would be believed, and the cursor moved over what waits."""
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    key = (bigint(1), chat.phone.user_id.bytes, bigint(chat.phone.device_id))
    with pytest.raises(AnotherAnswer):
        await store._keyspace.select("PURGE_CURSOR", key, owner=chat.phone.device_id)
    await store.close()


def _connections(store: CassandraStore) -> list[Any]:
    """Those that the store asks on."""
    [session] = store._keyspace._cluster.sessions
    return [connection for pool in session._pools.values() for connection in pool._connections.values()]


async def _until_well(store: CassandraStore) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            await store.probe()
        except StoreUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        else:
            return
