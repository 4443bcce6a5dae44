"""Transactions of the synchronous road."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

_LIMITS = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '3s'"


@contextmanager
def short_transaction() -> Iterator[None]:
    """A transaction that waits at most 2 s for a lock and 3 s for a statement; longer is an OperationalError, and nothing happened."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LIMITS)
        yield
