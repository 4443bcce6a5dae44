"""Installations for the acceptance tests: one per layout, started once, and left well by every test."""

import os
from collections.abc import Iterator

import pytest

from tests.acceptance.house import House, wait_for


def require_cassandra() -> None:
    """Skip where no Cassandra can be had, unless it has to be."""
    if not os.environ.get("CASSANDRA_TEST_URL"):
        if os.environ.get("CASSANDRA_REQUIRED") == "1":
            pytest.fail("Cassandra is required here and is not to be had")
        pytest.skip("Cassandra is not here")


@pytest.fixture(scope="session")
def postgresql_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"), "postgresql")
    try:
        house.start()
        yield house
    finally:
        house.clean_up()


@pytest.fixture(scope="session")
def cassandra_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    require_cassandra()
    house = House(tmp_path_factory.mktemp("house"), "cassandra")
    try:
        house.start()
        yield house
    finally:
        house.clean_up()


@pytest.fixture(params=["postgresql", pytest.param("cassandra", marks=pytest.mark.cassandra)])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """A running installation, in both layouts. It is well again when the test ends."""
    house: House = request.getfixturevalue(f"{request.param}_house")
    yield house
    wait_for(house.is_ready, 60)
