"""Arrays in PostgreSQL's binary form are what PostgreSQL says they are."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts import arrays
from accounts.postgresql import conninfo

LISTS: dict[str, tuple[Callable[[Any], bytes], st.SearchStrategy[Any]]] = {
    "bigint": (arrays.bigints, st.integers(-(2**63), 2**63 - 1)),
    "integer": (arrays.ints, st.integers(-(2**31), 2**31 - 1)),
    "boolean": (arrays.bools, st.booleans()),
    "uuid": (arrays.uuids, st.uuids()),
    "text": (arrays.texts, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)),
    "bytea": (arrays.byteas, st.binary(max_size=40)),
}
pytestmark = pytest.mark.django_db(transaction=True, databases=["messages"])


@pytest.fixture
def connection() -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(conninfo("messages"), autocommit=True) as connection:
        arrays.register(connection)
        yield connection


@pytest.mark.parametrize("name", LISTS)
def test_every_list_comes_back_as_it_was(name: str, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    made, items_of = LISTS[name]

    @hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.none() | items_of, max_size=12))
    def comes_back(items: list[Any]) -> None:
        found = connection.execute(
            f"SELECT %s::{name}[], pg_typeof(%s)::text", (made(items), made(items)), binary=True
        ).fetchone()
        assert found == (items, f"{name}[]")

    comes_back()
