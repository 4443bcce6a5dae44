"""The store in PostgreSQL keeps the contract."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from accounts.postgresql import conninfo
from conversations.entries import SYSTEM, LogEntry
from messaging.envelopes import Mailbox
from messaging.store.protocol import MessageStore, StoreRefused
from messaging.store.sql import SqlStore
from tests.messaging.store.contract import Damage, MessageStoreContract, OpenStore, chat
from tests.messaging.store.people import Chat

__all__ = ["chat"]
pytestmark = pytest.mark.django_db(transaction=True, databases=["messages"])


@pytest.fixture
async def store_of_a_worker() -> AsyncIterator[OpenStore]:
    opened = []

    async def one(ahead_ms: int) -> MessageStore:
        del ahead_ms  # PostgreSQL's clock is the only one that counts
        store = SqlStore(conninfo("messages"))
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
        del store
        async with await psycopg.AsyncConnection.connect(conninfo("messages"), autocommit=True) as connection:
            key = (mailbox.device_id, entry.position, entry.message_id)
            await connection.execute(
                "UPDATE message_mailbox SET envelope = '\\xc1' WHERE (device_id, position, message_id) = (%s, %s, %s)",
                key,
            )

    return spoil


class TestSqlStore(MessageStoreContract):
    pass


async def test_what_postgresql_refuses_is_no_store_that_is_away(store: MessageStore, chat: Chat) -> None:
    with pytest.raises(StoreRefused) as refused:
        await store.deposit([chat.entry(kind=SYSTEM, system={"event": "renamed", "name": "top\0secret"})])
    assert "secret" not in str(refused.value)
    await store.deposit([chat.entry()])
