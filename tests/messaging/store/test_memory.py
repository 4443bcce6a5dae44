"""The store in memory keeps the contract."""

import pytest

from conversations.entries import LogEntry
from messaging.envelopes import Mailbox
from messaging.store.memory import MemoryStore
from messaging.store.protocol import MessageStore, bucket_of
from tests.messaging.store.contract import Damage, MessageStoreContract, OpenStore, chat

__all__ = ["chat"]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def store_of_a_worker(store: MemoryStore) -> OpenStore:
    async def one(ahead_ms: int) -> MessageStore:
        del ahead_ms  # it looks at no clock when it writes
        return store

    return one


@pytest.fixture
def damage() -> Damage:
    async def spoil(store: MessageStore, mailbox: Mailbox, entry: LogEntry) -> None:
        assert isinstance(store, MemoryStore)
        store._mailboxes[mailbox][bucket_of(entry.kept_ms), entry.position, entry.message_id].parcel = b"\xc1"

    return spoil


class TestMemoryStore(MessageStoreContract):
    pass
