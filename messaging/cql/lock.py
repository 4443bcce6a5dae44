"""One migration of a keyspace at a time.

The lock is PostgreSQL's: it ends with the process that holds it, and it needs neither a lightweight transaction nor a time-out in the cluster.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connections

from messaging.cql.runner import MigrationError


@contextmanager
def only_one(alias: str, keyspace: str) -> Iterator[None]:
    """Hold the lock on a connection of its own. Raises `MigrationError` when it is taken, or when PostgreSQL cannot be asked."""
    connection = connections["default"].copy()
    try:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [f"cql:{alias}:{keyspace}"])
                (taken,) = cursor.fetchone() or (False,)
        except OperationalError as failure:
            message = "PostgreSQL, which holds the lock on migrations, does not answer. If nobody else migrates now, repeat with --no-lock."
            raise MigrationError(message) from failure
        if not taken:
            message = f"Somebody else is migrating the keyspace {keyspace}."
            raise MigrationError(message)
        yield
    finally:
        connection.close()
