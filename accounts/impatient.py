"""Connections that wait for their server no longer than they were told.

PostgreSQL's own limits (`patience.SESSION_LIMITS`) end a statement that takes too long; a server that is stopped, or behind a network that swallows
everything, ends nothing. Whoever waits too long here loses the connection: its server may still be at work on the statement.
"""

import asyncio
import time
from typing import Any

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from accounts.patience import ANSWER_SECONDS

INTERVAL = 0.1


class ImpatientConnection(psycopg.Connection[Any]):
    """A synchronous connection: OperationalError when one answer takes longer than ANSWER_SECONDS."""

    def wait(self, gen: PQGen[Any], interval: float = INTERVAL, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, ANSWER_SECONDS if timeout is None else timeout)
        except psycopg.OperationalError:
            drop_if_busy(self)
            raise


class ImpatientAsyncConnection(psycopg.AsyncConnection[Any]):
    """An asynchronous connection: OperationalError for whatever is not answered at `until` (of time.monotonic).

    Cancelling ends it at once; psycopg's own would ask the server to stop, and wait for the answer of a server that may be stopped itself.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = time.monotonic()
        self.until = self.since + ANSWER_SECONDS

    async def wait(  # psycopg's own signature
        self,
        gen: PQGen[Any],
        interval: float = INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Any:
        left = max(0.0, self.until - time.monotonic()) if timeout is None else timeout
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=left)
        except (asyncio.CancelledError, psycopg.OperationalError):
            drop_if_busy(self)
            raise


def drop_if_busy(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Close the connection if its server still owes an answer. Never waits."""
    if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
        connection.pgconn.finish()
