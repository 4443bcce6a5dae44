"""A few PostgreSQL connections of one event loop.

No psycopg_pool here: after an outage it waits longer and longer between its attempts to connect, so that a server would stay away after it is back,
and its check of a connection is a round trip for every statement. Here whoever needs a connection opens it, and one whose server has closed it is
noticed without asking, because there is something to read where nothing was asked for.
"""

import asyncio
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from accounts import arrays
from accounts.impatient import ImpatientAsyncConnection

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
LASTS_SECONDS = 1800

Admit = Callable[[Connection], Awaitable[None]]


class NoConnection(psycopg.OperationalError):
    """All connections are in use, and none came back in time; or their server is known to be away."""


@dataclass(frozen=True, slots=True)
class Use:
    """How many connections there are, how many of them are idle, and how many callers wait for one."""

    size: int
    idle: int
    waiting: int


class Connections:
    """At most `size` connections in autocommit mode, the last used first."""

    def __init__(self, conninfo: str, *, size: int, checkout_seconds: float, admit: Admit | None = None) -> None:
        """A caller waits `checkout_seconds` for a connection at most. `admit` raises for a new one that must not be used."""
        self._admit = admit
        self._conninfo = conninfo
        self._checkout_seconds = checkout_seconds
        self._free = asyncio.Semaphore(size)
        self._idle: list[ImpatientAsyncConnection] = []
        self._in_use = 0
        self._waiting = 0
        self._closed = False
        # While this is set nobody gets one: their server is known to be away.
        self.is_refusing = False
        # When a server last answered to everything a caller asked, by time.monotonic.
        self.answered_at = 0.0

    @property
    def use(self) -> Use:
        return Use(self._in_use + len(self._idle), len(self._idle), self._waiting)

    @asynccontextmanager
    async def one(self, *, until: float, fresh: bool = False) -> AsyncIterator[Connection]:
        """A connection of one's own, whose open transaction is rolled back at the end. Nothing is waited for after `until` (of time.monotonic).

        `fresh` drops the idle ones first, which may be as dead as the one that just failed. Raises NoConnection, and what connecting raises.
        """
        if self.is_refusing:
            raise NoConnection
        await self._take_turn()
        self._in_use += 1
        try:
            if fresh:
                await self.drop_idle()
            connection = self._last_used() or await self._connect(until)
            connection.until = until
            try:
                yield connection
            finally:
                await self._return(connection)
        finally:
            self._in_use -= 1
            self._free.release()

    async def close(self) -> None:
        """Close what is idle, and what is in use as soon as it comes back."""
        self._closed = True
        await self.drop_idle()

    def reopen(self) -> None:
        """Allow use again after `close`."""
        self._closed = False

    async def drop_idle(self) -> None:
        """Close what is idle: the next caller connects."""
        while self._idle:
            await self._idle.pop().close()

    async def _take_turn(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(self._checkout_seconds):
                await self._free.acquire()
        except TimeoutError as late:
            raise NoConnection from late
        finally:
            self._waiting -= 1

    def _last_used(self) -> ImpatientAsyncConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if not _has_something_to_say(connection):
                return connection
            connection.pgconn.finish()
        return None

    async def _connect(self, until: float) -> ImpatientAsyncConnection:
        # libpq's own limit is whole seconds, and two at least.
        async with asyncio.timeout(until - time.monotonic()):
            connection = await ImpatientAsyncConnection.connect(self._conninfo, autocommit=True)
            arrays.register(connection)
            await self._require_admission(connection)
        return connection

    async def _require_admission(self, connection: ImpatientAsyncConnection) -> None:
        if self._admit is not None:
            try:
                await self._admit(connection)
            except BaseException:
                connection.pgconn.finish()
                raise

    async def _return(self, connection: ImpatientAsyncConnection) -> None:
        await _end_transaction(connection)
        is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        if is_idle:
            self.answered_at = time.monotonic()
        if is_idle and not self._closed and connection.since + LASTS_SECONDS > self.answered_at:
            self._idle.append(connection)
        else:
            await connection.close()


def _has_something_to_say(connection: ImpatientAsyncConnection) -> bool:
    """Whether an idle connection's server has sent something: that it is going, or the end of the connection itself."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


async def _end_transaction(connection: ImpatientAsyncConnection) -> None:
    if connection.pgconn.transaction_status not in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        return
    try:
        await connection.rollback()
    except psycopg.Error:
        connection.pgconn.finish()
