"""The search for ciphertexts of acknowledged messages, in the SQL store; that in Cassandra is tested with the build it is for."""

import asyncio

import psycopg
import pytest

from accounts import postgresql
from messaging.store.sql import SqlStore
from tests.faults.store_search import in_sql
from tests.messaging.store.people import Chat, ack

pytestmark = pytest.mark.django_db(transaction=True, databases=["messages"])


async def test_only_acknowledged_rows_with_content_count() -> None:
    url, chat = postgresql.conninfo("messages"), Chat()
    store = SqlStore(url)
    acknowledged, pending = chat.entries(2)
    await store.deposit([acknowledged, pending])
    await store.acknowledge([ack(chat.phone, acknowledged)])
    found = await asyncio.to_thread(in_sql, url)
    assert (found.acknowledged, found.with_content) == (1, 0)
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE message_mailbox SET envelope = 'again' WHERE message_id = %s", [acknowledged.message_id]
        )
    found = await asyncio.to_thread(in_sql, url)
    assert (found.acknowledged, found.with_content) == (1, 1)
    await store.close()
