"""What a message store still holds of acknowledged messages: read from its own tables, beside the code that is under test."""

from collections.abc import Mapping
from typing import Any

import psycopg
from cassandra.query import SimpleStatement

from messaging.cql import runner
from tests.faults.history import StoreSearched

IN_SQL = """
SELECT count(*), count(*) FILTER (WHERE length(envelope) > 0) FROM message_mailbox WHERE delivered_at IS NOT NULL
"""
# Between so many rows a test node meets fewer expired ones than it gives up at.
ROWS_AT_ONCE = 50
IN_CASSANDRA = "SELECT envelope, delivered_ms FROM {keyspace}.message_deliveries"


def in_sql(url: str) -> StoreSearched:
    """How many mailbox rows of the SQL store are acknowledged, and how many of those have their ciphertext."""
    with psycopg.connect(url) as connection:
        [(acknowledged, with_content)] = connection.execute(IN_SQL).fetchall()
    return StoreSearched(acknowledged=acknowledged, with_content=with_content)


def in_cassandra(config: Mapping[str, Any]) -> StoreSearched:
    """The same of a keyspace in Cassandra; `config` is what `chatproject.environment.cassandra` makes of its URL."""
    acknowledged = with_content = 0
    with runner.connected(config) as connected:
        every = SimpleStatement(IN_CASSANDRA.format(keyspace=config["keyspace"]), fetch_size=ROWS_AT_ONCE)
        for envelope, delivered_ms in connected._session.execute(every):
            acknowledged += delivered_ms is not None
            with_content += delivered_ms is not None and bool(envelope)
    return StoreSearched(acknowledged=acknowledged, with_content=with_content)
