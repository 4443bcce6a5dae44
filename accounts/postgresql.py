"""PostgreSQL for the asynchronous road: one pool per event loop and alias.

The hot path talks SQL through these pools; everything else uses Django's ORM on Django's own connections.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from psycopg import errors
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts import arrays
from accounts.patience import SESSION_LIMITS
from accounts.wire.refusals import StorageUnavailable

logger = logging.getLogger(__name__)

# Of the asynchronous road alone; the synchronous one has `transactions.short_transaction`. Whatever waits or runs longer is a fault, never a queue.
CHECKOUT_SECONDS = 2.0
POOL_SIZE = 8
# What decides nothing (looking, reading, marking as read) has so many of them at most: however many sockets look at once, sends find a free one.
SHARED = 5

Connection = psycopg.AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Pool]] = WeakKeyDictionary()
# What a lost, stopped, restarting or demoted server (it is read-only then) looks like from here. Programming errors are not among them.
UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    PoolTimeout,
    TimeoutError,
    OSError,
)
# Said of one statement, by a server that is well or has just been stopped for a while.
OF_THE_STATEMENT = (errors.QueryCanceled, errors.DeadlockDetected, errors.SerializationFailure)


def conninfo(alias: str) -> str:
    """libpq's connection string of a Django alias, with the limits every session has."""
    params: dict[str, Any] = connections[alias].get_connection_params()
    names = (
        "dbname",
        "user",
        "password",
        "host",
        "port",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "connect_timeout",
    )
    chosen = {name: params[name] for name in names if params.get(name)}
    limits: dict[str, Any] = {"connect_timeout": 3, "options": SESSION_LIMITS}
    return psycopg.conninfo.make_conninfo(**limits | chosen)


async def pool(alias: str = "default") -> Pool:
    """The running loop's pool for the alias, opened at first use. Connections are in autocommit mode."""
    pools = _pools.setdefault(asyncio.get_running_loop(), {})
    if alias not in pools:
        pools[alias] = AsyncConnectionPool(
            conninfo(alias),
            min_size=1,
            max_size=POOL_SIZE,
            timeout=CHECKOUT_SECONDS,
            max_lifetime=1800,
            reconnect_timeout=2,
            kwargs={"autocommit": True},
            configure=_configure,
            name=f"hot-{alias}",
            open=False,
        )
        await pools[alias].open(wait=False)
    return pools[alias]


async def _configure(conn: Connection) -> None:
    arrays.register(conn)


@asynccontextmanager
async def connection(alias: str = "default") -> AsyncIterator[Connection]:
    """A connection for one transaction that decides nothing, rolled back if it raises.

    Raises StorageUnavailable for anything an unreachable or overloaded server does, too many others who wait for a connection among it.
    """
    async with _turn(alias):
        try:
            async with deciding(alias) as conn:
                yield conn
        except OF_THE_STATEMENT as failure:
            raise StorageUnavailable from failure


@asynccontextmanager
async def deciding(alias: str = "default") -> AsyncIterator[Connection]:
    """A connection for one transaction that somebody waits for, rolled back if it raises.

    Raises StorageUnavailable for anything an unreachable or overloaded server does; but a deadlock or a statement that took too long comes as it
    is, for callers who then do something else than trying again later.
    """
    source = await pool(alias)
    try:
        async with source.connection() as conn:
            yield conn
    except OF_THE_STATEMENT:
        raise
    except errors.LockNotAvailable as failure:
        raise StorageUnavailable from failure
    except UNAVAILABLE as failure:
        heal(source)
        raise StorageUnavailable from failure


@asynccontextmanager
async def _turn(alias: str) -> AsyncIterator[None]:
    turns = _turns.setdefault(asyncio.get_running_loop(), {}).setdefault(alias, asyncio.Semaphore(SHARED))
    try:
        async with asyncio.timeout(CHECKOUT_SECONDS):
            await turns.acquire()
    except TimeoutError as failure:
        raise StorageUnavailable from failure
    try:
        yield
    finally:
        turns.release()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()


def heal(source: Pool) -> None:
    """Replace dead connections at once, in the background: left alone, each would cost some later caller its own time-out."""
    if not source.closed:
        task = asyncio.get_running_loop().create_task(_check(source))
        _healing.add(task)
        task.add_done_callback(_healing.discard)


_healing: set[asyncio.Task[None]] = set()


async def _check(source: Pool) -> None:
    try:
        await asyncio.wait_for(source.check(), 5)
    except UNAVAILABLE:
        logger.warning("PostgreSQL is not reachable")


async def close_pools() -> None:
    """Close the running loop's pools. The loop may open new ones afterwards."""
    for source in _pools.pop(asyncio.get_running_loop(), {}).values():
        await source.close(timeout=2)
