"""The store in Cassandra keeps the contract, on a real node."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from conversations.entries import LogEntry
from messaging.envelopes import Mailbox
from messaging.store.cassandra import CassandraStore, microseconds
from messaging.store.protocol import MessageStore, bucket_of
from tests.messaging.store.contract import Damage, MessageStoreContract, OpenStore, chat

__all__ = ["chat"]
SPOIL = """
UPDATE {ks}.message_deliveries USING TIMESTAMP {later} SET envelope = 0xc1
WHERE user_id = %s AND bucket = %s AND device_id = %s AND position = %s AND message_id = %s
"""
pytestmark = pytest.mark.cassandra


@pytest.fixture
async def store_of_a_worker(keyspace: dict[str, Any]) -> AsyncIterator[OpenStore]:
    opened = []

    async def one(ahead_ms: int) -> MessageStore:
        store = CassandraStore(keyspace, clock=lambda: microseconds() + ahead_ms * 1000)
        opened.append(store)
        await store.open()
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
        assert store._bridge is not None
        key = (mailbox.user_id, bucket_of(entry.kept_ms), mailbox.device_id, entry.position, entry.message_id)
        spoiling = SPOIL.format(ks=store._config["keyspace"], later=entry.kept_ms * 1000 + 1)
        store._bridge._session.execute(spoiling, key)

    return spoil


class TestCassandraStore(MessageStoreContract):
    pass
