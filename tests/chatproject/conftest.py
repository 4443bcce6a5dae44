"""The Cassandra keyspace of the tests, for this folder too."""

from tests.messaging.store.conftest import keyspace

__all__ = ["keyspace"]
