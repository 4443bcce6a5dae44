"""The Cassandra keyspace of the tests, and their server, for this folder too."""

from tests.messaging.conftest import server
from tests.messaging.store.conftest import keyspace

__all__ = ["keyspace", "server"]
