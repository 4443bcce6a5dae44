"""Transactions of the synchronous road."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction
from psycopg_pool import ConnectionPool

_LIMITS = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '3s'"


# A check takes every idle connection out of the pool: one at a time, however many have failed.
_checking = threading.Lock()


@contextmanager
def short_transaction() -> Iterator[None]:
    """A transaction that waits at most 2 s for a lock and 3 s for a statement; longer is an OperationalError, and nothing happened."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LIMITS)
        yield


def release_connection() -> None:
    """Let others have this thread's connection while it waits for something else. Inside a transaction it stays."""
    if not connection.in_atomic_block:
        connection.close()


def heal_connections() -> None:
    """Have dead connections of this process's pool replaced, in the background.

    Left alone after a restart of PostgreSQL, each of them would cost some later request its whole time-out.
    """
    pool: ConnectionPool[Any] | None = getattr(connection, "pool", None)
    if pool is not None and _checking.acquire(blocking=False):
        threading.Thread(target=_check, args=[pool], daemon=True).start()


def _check(pool: ConnectionPool[Any]) -> None:
    try:
        with contextlib.suppress(psycopg.Error):
            pool.check()
    finally:
        _checking.release()
