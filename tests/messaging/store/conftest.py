"""The Cassandra keyspace of the tests, made by the same runner as everybody's."""

import os
from collections.abc import Mapping
from typing import Any

import pytest

from chatproject import environment
from messaging.cql import runner

NO_NODE = "CASSANDRA_TEST_URL is not set: THE STORE IN CASSANDRA IS NOT TESTED"


@pytest.fixture(scope="session")
def keyspace() -> Mapping[str, Any]:
    """How to connect to a keyspace with all its tables."""
    url = os.environ.get("CASSANDRA_TEST_URL")
    if not url:
        if os.environ.get("CASSANDRA_REQUIRED") == "1":
            pytest.fail(NO_NODE)
        pytest.skip(NO_NODE)
    config = environment.cassandra(url)
    with runner.connected(config) as connected:
        runner.migrate(connected)
    return config
