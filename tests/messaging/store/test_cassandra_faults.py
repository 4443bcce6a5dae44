"""What a Cassandra that is away or silent does to the store: an answer in time."""

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Any

import pytest

from messaging.envelopes import Ack
from messaging.store.cassandra import CassandraStore
from messaging.store.protocol import StoreUnavailable
from tests.deadlines import promised
from tests.messaging.store.people import Chat, seqs

IN_TIME = promised(2)
CONFIG = {"hosts": ("127.0.0.1",), "port": 1, "keyspace": "nothing", "dc": "dc1", "rf": 1, "user": "", "password": ""}


async def test_a_cluster_that_is_not_there_is_reported_in_time() -> None:
    store, chat = CassandraStore(CONFIG), Chat()
    for call in (
        store.open(),
        store.probe(),
        store.deposit([chat.entry()]),
        store.acknowledge([Ack(chat.phone, 1, 1, 1)]),
    ):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await call
        assert time.monotonic() - started < IN_TIME
    await store.close()


async def test_a_cluster_that_never_answers_costs_two_seconds_at_most() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # connections are made, and nobody takes them
    store, chat = CassandraStore(CONFIG | {"port": silent.getsockname()[1]}), Chat()
    started = time.monotonic()
    outcomes = await asyncio.gather(*(store.deposit([chat.entry()]) for _ in range(20)), return_exceptions=True)
    assert time.monotonic() - started < IN_TIME
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    await store.close()
    silent.close()


@pytest.mark.cassandra
async def test_a_keyspace_without_tables_is_unavailable(keyspace: Mapping[str, Any]) -> None:
    store, chat = CassandraStore({**keyspace, "keyspace": "system"}), Chat()
    with pytest.raises(StoreUnavailable, match="while connecting"):
        await store.deposit([chat.entry()])
    await store.close()


@pytest.mark.cassandra
async def test_a_store_that_was_never_opened_connects_at_its_first_call(keyspace: Mapping[str, Any]) -> None:
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    assert await seqs(store, chat.phone) == [1]
    await store.close()


@pytest.mark.cassandra
async def test_a_driver_that_has_gone_deaf_for_good_is_replaced(
    keyspace: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a jump of the clock: the cluster is well, and the driver never looks again."""
    monkeypatch.setattr("messaging.store.keyspace.DEAF_SECONDS", 0.2)
    store, chat = CassandraStore(keyspace), Chat()
    await store.deposit([chat.entry()])
    await asyncio.to_thread(store._keyspace._cluster.shutdown)
    with pytest.raises(StoreUnavailable):
        await store.probe()
    async with asyncio.timeout(30):
        while not await is_well(store):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await store.deposit([chat.entry()])
    assert await seqs(store, chat.phone) == [1, 2]
    await store.close()


async def is_well(store: CassandraStore) -> bool:
    try:
        await store.probe()
    except StoreUnavailable:
        return False
    return True
