"""A few PostgreSQL connections of one event loop, for statements that are each their own transaction.

No psycopg_pool here: after an outage it waits longer and longer between its attempts to connect, so that the store would stay away after
PostgreSQL is back, and its check of a connection is a round trip for every statement. Here whoever needs a connection opens it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection

from accounts import arrays

Connection = AsyncConnection[tuple[Any, ...]]
CONNECT_SECONDS = 2


class Connections:
    """At most `size` connections, the last used first."""

    def __init__(self, conninfo: str, *, size: int, options: str) -> None:
        self._conninfo, self._options = conninfo, options
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    @asynccontextmanager
    async def one(self, *, fresh: bool = False) -> AsyncIterator[Connection]:
        """A connection of one's own; `fresh` drops the idle ones first, which may be as dead as the one that just failed."""
        async with self._free:
            if fresh:
                await self._drop_idle()
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                await self._return(connection)

    async def close(self) -> None:
        """Close what is idle, and what is in use as soon as it comes back."""
        self._closed = True
        await self._drop_idle()

    def reopen(self) -> None:
        """Allow use again after `close`."""
        self._closed = False

    async def _connect(self) -> Connection:
        connection = await AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            options=self._options,
            application_name="waypost-store",
        )
        arrays.register(connection)
        return connection

    async def _return(self, connection: Connection) -> None:
        idle = connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if idle and not self._closed:
            self._idle.append(connection)
        else:
            await connection.close()

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()
