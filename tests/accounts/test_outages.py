"""A PostgreSQL of its own that stands still, goes on, dies and comes back: how long both roads wait, and how soon they are well again."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import psycopg
import pytest
import pytest_django
from django.db import Error, InterfaceError, OperationalError
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.utils import ConnectionHandler

from accounts import postgresql
from accounts.patience import ANSWER_SECONDS
from accounts.wire.refusals import StorageUnavailable
from chatproject import databases
from chatproject.launcher.postgres import PostgresServer
from tests.deadlines import promised

# What is promised to callers; single steps are bounded below it.
IN_TIME = 5.0
AT_ONCE = 1.5
CALLERS = 2 * postgresql.POOL_SIZE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("server"), durable=False)
    server.start()
    yield server
    server.stop()


@contextmanager
def standing_still(server: PostgresServer) -> Iterator[None]:
    """Every process of the server, its backends included, does nothing meanwhile."""
    parent = psutil.Process(server.pid)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def restart(server: PostgresServer) -> None:
    server.kill()
    server.start()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < promised(seconds)


# --- the asynchronous road -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def road(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """All connections of the asynchronous road are open and idle."""
    monkeypatch.setattr(postgresql, "conninfo", lambda _alias: server.url)
    await asyncio.gather(*(ask("SELECT pg_sleep(0.1)") for _ in range(CALLERS)))
    assert postgresql.pool().use.idle == postgresql.POOL_SIZE
    yield
    await postgresql.close_pools()


async def ask(question: str = "SELECT 1") -> None:
    async with postgresql.deciding() as conn:
        await conn.execute(question)


async def test_nobody_waits_for_a_server_that_stands_still_and_afterwards_all_is_as_before(
    road: None, server: PostgresServer
) -> None:
    with standing_still(server), at_most(IN_TIME):
        outcomes = await asyncio.gather(*(ask() for _ in range(CALLERS)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StorageUnavailable}
    with at_most(AT_ONCE):
        await asyncio.gather(*(ask() for _ in range(CALLERS)))


async def test_nobody_waits_in_a_transaction_that_had_begun_either(road: None, server: PostgresServer) -> None:
    with pytest.raises(StorageUnavailable), at_most(IN_TIME):  # noqa: PT012  (the transaction is what is tested)
        async with postgresql.connection() as conn:
            await conn.execute("BEGIN")
            with standing_still(server):
                async with conn.pipeline():
                    await conn.execute("SELECT 1")
                    await conn.execute("COMMIT")
    with at_most(AT_ONCE):
        await ask()


async def test_after_a_restart_not_one_call_fails(road: None, server: PostgresServer) -> None:
    await asyncio.to_thread(restart, server)
    with at_most(AT_ONCE):
        await asyncio.gather(*(ask() for _ in range(CALLERS)))


async def test_while_the_server_is_away_the_answer_is_there_at_once_and_nothing_has_to_wear_off(
    road: None, server: PostgresServer
) -> None:
    server.kill()
    try:
        with at_most(AT_ONCE):
            outcomes = await asyncio.gather(*(ask() for _ in range(CALLERS)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StorageUnavailable}
    finally:
        await asyncio.to_thread(server.start)
    with at_most(AT_ONCE):
        await asyncio.gather(*(ask() for _ in range(CALLERS)))


async def test_who_gives_up_waits_for_nobody_and_leaves_no_connection_behind(
    road: None, server: PostgresServer
) -> None:
    asking = [asyncio.create_task(ask("SELECT pg_sleep(3)")) for _ in range(postgresql.POOL_SIZE)]
    await asyncio.sleep(0.2)
    with standing_still(server), at_most(AT_ONCE):
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert postgresql.pool().use.size == 0
    await ask()


async def test_an_open_transaction_is_rolled_back_and_its_connection_used_again(road: None) -> None:
    source = postgresql.pool()
    async with source.one(until=time.monotonic() + IN_TIME) as conn:
        await conn.execute("CREATE TEMPORARY TABLE kept (x int)")
        first = conn.info.backend_pid
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with source.one(until=time.monotonic() + IN_TIME) as conn:
            await conn.execute("BEGIN")
            await conn.execute("INSERT INTO kept VALUES (1)")
            raise ZeroDivisionError
    async with source.one(until=time.monotonic() + IN_TIME) as conn:
        assert conn.info.backend_pid == first
        assert await (await conn.execute("SELECT count(*) FROM kept")).fetchone() == (0,)


async def test_a_crowd_waits_for_a_connection_only_so_long(road: None, monkeypatch: pytest.MonkeyPatch) -> None:
    holders = [asyncio.create_task(ask("SELECT pg_sleep(2.6)")) for _ in range(postgresql.POOL_SIZE)]
    await asyncio.sleep(0.1)
    waiting = asyncio.create_task(ask())
    await asyncio.sleep(0.1)
    assert postgresql.pool().use.waiting == 1
    with pytest.raises(StorageUnavailable):
        await waiting
    await asyncio.gather(*holders)


# --- the synchronous road --------------------------------------------------------------------------------------------------------------


class Requests:
    """Requests of a serving process, each in a thread and with a connection of its own, as under ASGI."""

    def __init__(self, url: str) -> None:
        self.handler = {"default": {}, "outages": databases.decides(url, pooled=True)}
        self.threads = ThreadPoolExecutor(CALLERS)

    def connection(self) -> DatabaseWrapper:
        connection = ConnectionHandler(self.handler)["outages"]
        assert isinstance(connection, DatabaseWrapper)
        return connection

    def many(self) -> list[Error | None]:
        return list(self.threads.map(lambda _: self.one(), range(CALLERS)))

    def one(self) -> Error | None:
        connection = self.connection()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Error as failure:
            return failure
        finally:
            connection.close()
        return None


@pytest.fixture
def requests(server: PostgresServer, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[Requests]:
    requests = Requests(server.url)
    with django_db_blocker.unblock():
        assert requests.many() == [None] * CALLERS
        yield requests
    requests.threads.shutdown()
    requests.connection().close_pool()


def test_a_request_does_not_wait_for_a_server_that_stands_still_either(
    requests: Requests, server: PostgresServer
) -> None:
    with standing_still(server), at_most(IN_TIME):
        assert all(isinstance(failure, OperationalError | InterfaceError) for failure in requests.many())
    with at_most(AT_ONCE + ANSWER_SECONDS):
        while any(requests.many()):
            time.sleep(0.05)


def test_after_a_restart_requests_are_answered_at_once(requests: Requests, server: PostgresServer) -> None:
    restart(server)
    with at_most(AT_ONCE):
        assert requests.many() == [None] * CALLERS


def test_after_an_outage_requests_are_answered_at_once(requests: Requests, server: PostgresServer) -> None:
    server.kill()
    try:
        with at_most(IN_TIME):
            assert all(isinstance(failure, OperationalError | InterfaceError) for failure in requests.many())
    finally:
        server.start()
    with at_most(AT_ONCE):
        assert requests.many() == [None] * CALLERS


def test_a_serving_process_has_limits_on_every_connection(requests: Requests) -> None:
    connection = requests.connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
        assert cursor.fetchone() == ("3s", "2s")
    connection.close()


def test_a_url_may_say_otherwise() -> None:
    entry = databases.decides("postgresql://db/x?connect_timeout=9", pooled=True)
    assert entry["OPTIONS"]["connect_timeout"] == 9
    assert psycopg.conninfo.make_conninfo(tcp_user_timeout=entry["OPTIONS"]["tcp_user_timeout"])
