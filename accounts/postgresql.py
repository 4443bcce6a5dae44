"""PostgreSQL for the asynchronous road: a few connections per event loop and alias.

The hot path talks SQL through these; everything else uses Django's ORM on Django's own connections.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from django.dispatch import Signal
from psycopg import errors

from accounts.connections import Connection, Connections, NoConnection
from accounts.lineage_guard import check_connection
from accounts.patience import NETWORK_LIMITS, SESSION_LIMITS
from accounts.wire.refusals import StorageUnavailable

# Of the asynchronous road alone; the synchronous one has `transactions.short_transaction`. Whatever waits or runs longer is a fault, never a queue.
CHECKOUT_SECONDS = 2.0
# From asking for a connection to the last answer of its server, whatever that one does: less than anybody waits for a send or a call.
USE_SECONDS = 4.4
POOL_SIZE = 8
# What decides nothing (looking, reading, marking as read) has so many of them at most: however many sockets look at once, sends find a free one.
SHARED = 5

# Sent, on the loop, when the server did not answer. For whoever wants to find out whether it is gone.
silent = Signal()

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Connections]] = WeakKeyDictionary()
# What a lost, stopped, restarting or demoted server (it is read-only then) looks like from here. Programming errors are not among them.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, TimeoutError, OSError)
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
        *NETWORK_LIMITS,
    )
    chosen = {name: params[name] for name in names if params.get(name)}
    limits: dict[str, Any] = NETWORK_LIMITS | {"options": SESSION_LIMITS}
    return psycopg.conninfo.make_conninfo(**limits | chosen)


def pool(alias: str = "default") -> Connections:
    """The running loop's connections to the alias, opened when they are needed."""
    pools = _pools.setdefault(asyncio.get_running_loop(), {})
    if alias not in pools:
        # What decides must not have gone back; the message store's own may.
        admit = check_connection if alias == "default" else None
        pools[alias] = Connections(conninfo(alias), size=POOL_SIZE, checkout_seconds=CHECKOUT_SECONDS, admit=admit)
    return pools[alias]


@asynccontextmanager
async def connection(alias: str = "default") -> AsyncIterator[Connection]:
    """A connection for one transaction that decides nothing, rolled back if it was not committed.

    Raises StorageUnavailable within USE_SECONDS for anything an unreachable, silent or overloaded server does, too many others who wait for a
    connection among it.
    """
    until = time.monotonic() + USE_SECONDS
    async with _turn(alias):
        try:
            async with _one(alias, until) as conn:
                yield conn
        except OF_THE_STATEMENT as failure:
            raise StorageUnavailable from failure


@asynccontextmanager
async def deciding(alias: str = "default") -> AsyncIterator[Connection]:
    """A connection for one transaction that somebody waits for, rolled back if it was not committed.

    Raises StorageUnavailable within USE_SECONDS for anything an unreachable, silent or overloaded server does; but a deadlock or a statement that
    took too long comes as it is, for callers who then do something else than trying again later.
    """
    async with _one(alias, time.monotonic() + USE_SECONDS) as conn:
        yield conn


@asynccontextmanager
async def _one(alias: str, until: float) -> AsyncIterator[Connection]:
    source = pool(alias)
    try:
        async with source.one(until=until) as conn:
            yield conn
    except OF_THE_STATEMENT:
        raise
    except (errors.LockNotAvailable, NoConnection) as failure:
        raise StorageUnavailable from failure
    except UNAVAILABLE as failure:
        # The idle ones are as dead, most likely: left alone, each would cost some later caller its transaction.
        await source.drop_idle()
        silent.send_robust(sender=alias)
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


async def close_pools() -> None:
    """Close the running loop's connections. The loop may open new ones afterwards."""
    for source in _pools.pop(asyncio.get_running_loop(), {}).values():
        await source.close()
