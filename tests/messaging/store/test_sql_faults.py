"""What a PostgreSQL that is away, silent, restarted or busy does to the store: an answer in time, and no harm afterwards."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from accounts.postgresql import conninfo
from messaging.store.protocol import MessageStore, StoreUnavailable
from messaging.store.sql import SIZE, SqlStore
from tests.deadlines import promised
from tests.messaging.store.people import Chat, ack, seqs

IN_TIME = promised(2)
pytestmark = pytest.mark.django_db(transaction=True, databases=["messages"])


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
async def store() -> AsyncIterator[MessageStore]:
    store = SqlStore(conninfo("messages"))
    await store.open()
    yield store
    await store.close()


async def _operator() -> psycopg.AsyncConnection[tuple[object, ...]]:
    return await psycopg.AsyncConnection.connect(conninfo("messages"), autocommit=True)


async def _terminate_the_stores_connections(operator: psycopg.AsyncConnection[tuple[object, ...]]) -> int:
    rows = await operator.execute(
        "SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity WHERE application_name = 'waypost-store' "
        "AND datname = current_database()"
    )
    ((count,),) = await rows.fetchall()
    assert isinstance(count, int)
    return count


async def test_a_server_that_is_not_there_is_reported_at_once(chat: Chat) -> None:
    store = SqlStore("host=127.0.0.1 port=1 dbname=nothing")
    started = time.monotonic()
    for call in (store.open(), store.probe(), store.deposit([chat.entry()]), store.cursor(chat.phone)):
        with pytest.raises(StoreUnavailable):
            await call
    assert time.monotonic() - started < IN_TIME
    await store.close()


async def test_a_server_that_never_answers_costs_two_seconds_at_most(chat: Chat) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # connections are made, and nobody takes them
    store = SqlStore(f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x sslmode=disable gssencmode=disable")
    started = time.monotonic()
    calls = [store.deposit([chat.entry()]) for _ in range(2 * SIZE)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - started < IN_TIME
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    await store.close()
    silent.close()


async def test_after_a_restart_of_the_server_not_one_call_fails(store: MessageStore, chat: Chat) -> None:
    entries = chat.entries(3 * SIZE)
    await asyncio.gather(*(store.deposit([entry]) for entry in entries))
    operator = await _operator()
    assert await _terminate_the_stores_connections(operator) >= 1
    started = time.monotonic()
    await asyncio.gather(*(store.acknowledge([ack(chat.phone, entry)]) for entry in entries[1:]))
    assert await seqs(store, chat.phone) == [1]
    assert time.monotonic() - started < IN_TIME
    await operator.close()


async def test_a_locked_row_costs_two_seconds_and_harms_no_later_call(store: MessageStore, chat: Chat) -> None:
    entry = chat.entry()
    await store.deposit([entry])
    operator = await _operator()
    async with operator.transaction():
        await operator.execute("LOCK TABLE message_mailbox IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        outcomes = await asyncio.gather(
            *(store.acknowledge([ack(chat.phone, entry)]) for _ in range(2 * SIZE)), return_exceptions=True
        )
        assert time.monotonic() - started < IN_TIME
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert await store.cursor(chat.phone) is not None
    await store.acknowledge([ack(chat.phone, entry)])
    assert await seqs(store, chat.phone) == []
    await operator.close()


async def test_a_caller_that_gives_up_leaves_the_connection_usable(store: MessageStore, chat: Chat) -> None:
    entry = chat.entry()
    operator = await _operator()
    async with operator.transaction():
        await operator.execute("LOCK TABLE message_mailbox IN ACCESS EXCLUSIVE MODE")
        for _ in range(2 * SIZE):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.deposit([entry]), 0.05)
    await store.deposit([entry])
    assert await seqs(store, chat.phone) == [1]
    await operator.close()


async def test_a_store_without_its_tables_is_unavailable(store: MessageStore, chat: Chat) -> None:
    other = SqlStore(psycopg.conninfo.make_conninfo(conninfo("messages"), dbname="postgres"))
    with pytest.raises(StoreUnavailable, match="UndefinedTable"):
        await other.deposit([chat.entry()])
    await other.close()


async def test_an_error_never_quotes_what_was_sent(chat: Chat) -> None:
    store = SqlStore(psycopg.conninfo.make_conninfo(conninfo("messages"), dbname="postgres"))
    with pytest.raises(StoreUnavailable) as raised:
        await store.deposit([chat.entry(ciphertext=b"topsecret")])
    assert "topsecret" not in str(raised.value)
    await store.close()
