"""The store in Cassandra keeps the contract, on a real node."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from conversations.entries import LogEntry
from messaging.envelopes import Mailbox
from messaging.store import cassandra
from messaging.store.cassandra import CassandraStore, _seconds_until, microseconds
from messaging.store.protocol import RETENTION_MS, MessageStore, StoreRefused, bucket_of
from tests.messaging.store.contract import Damage, MessageStoreContract, OpenStore, chat
from tests.messaging.store.people import DAY, Chat, drain

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


@pytest.mark.parametrize("years", [11, 15, 19, 30])
async def test_content_that_expires_after_the_last_moment_a_node_can_write_is_kept(
    store: MessageStore, chat: Chat, years: int
) -> None:
    message = chat.entry(shared=b"for all", expires_ms=chat.now + years * 365 * DAY)
    await store.deposit([message])
    assert [(one.shared, one.expires_ms) for one in await drain(store, chat.phone)] == [
        (b"for all", message.expires_ms)
    ]


async def test_what_a_node_refuses_is_no_store_that_is_away(
    store: MessageStore, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(cassandra, "_seconds_until", lambda *_: 21 * 365 * 24 * 3600)
        with pytest.raises(StoreRefused):
            await store.deposit([chat.entry()])
    await store.deposit([chat.entry()])


def test_a_ttl_ends_before_2038_and_is_never_cut_short_for_what_lies_in_mailboxes() -> None:
    def at(year: int) -> int:
        return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())

    century = at(2100) * 1000
    assert at(2026) + _seconds_until(century, at(2026) * 10**6) == at(2038) + 17 * 24 * 3600 + 3 * 3600 + 14 * 60 + 6
    assert _seconds_until(century, at(2000) * 10**6) == 20 * 365 * 24 * 3600
    assert _seconds_until(at(2038) * 1000 + RETENTION_MS, at(2038) * 10**6) == RETENTION_MS // 1000
    assert _seconds_until(at(2020) * 1000, at(2026) * 10**6) == 60
