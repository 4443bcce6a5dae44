"""A keyspace of one test's own on the tests' node."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from messaging.cql import runner
from tests.messaging.store.conftest import keyspace

__all__ = ["keyspace"]


@pytest.fixture
def config(keyspace: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """How to connect to a keyspace that is not there yet."""
    one = {**keyspace, "keyspace": f"running_{uuid4().hex[:12]}"}
    yield one
    with runner.connected(one) as connected:
        connected.change(f"DROP KEYSPACE IF EXISTS {one['keyspace']}")
