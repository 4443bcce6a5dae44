"""Fixtures for all tests: a Redis database and an SMS file of their own, and the cast (`tests/cast.py`)."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.db import connections

from accounts import postgresql
from tests.cast import Http, Installation

# Tests that share something expensive, or something there is only one of, run in one process when the tests run in several.
GROUPS = (
    ("tests/acceptance", "cassandra", "a house with Cassandra"),
    ("tests/acceptance", "", "a house with PostgreSQL"),
    ("tests/launcher", "", "the launcher"),
    ("tests/chatproject/test_databases_migrations.py", "", "migrations"),
    ("tests/messaging/store/test_cassandra", "", "the keyspace"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for folder, word, group in GROUPS:
            if item.nodeid.startswith(folder) and word in item.nodeid:
                item.add_marker(pytest.mark.xdist_group(group))
                break


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A numbered database of the test server for this run: runs beside it do not see its counters. Empty at the start."""
    from django.conf import settings  # noqa: PLC0415  (not before pytest-django has set it up)

    url = f"{settings.REDIS_URL.partition('?')[0]}?db={os.getpid() % 15 + 1}"
    with redis.Redis.from_url(url) as store:
        store.flushdb()
    return url


@pytest.fixture
def services(settings: Any, redis_url: str, tmp_path: Path) -> None:
    """What registration needs beside PostgreSQL."""
    settings.REDIS_URL = redis_url
    settings.SMS_URL = f"file://{tmp_path}/sms.jsonl"


@pytest.fixture
def anyone(services: None) -> Http:
    """A client without a token."""
    return Http()


@pytest.fixture
def alice_phone(db: None, services: None) -> Installation:
    """Alice's primary device."""
    return Installation(name="Alice's phone").register()


@pytest.fixture
def bob_phone(db: None, services: None) -> Installation:
    """Bob's only device."""
    return Installation(name="Bob's phone").register()


@pytest.fixture
def mallory(db: None, services: None) -> Installation:
    """Somebody with a valid account and no business here."""
    return Installation(name="Mallory's phone").register()


@pytest.fixture
async def hot_road() -> AsyncIterator[None]:
    """For coroutines that use the asynchronous pools, or the ORM through a thread: nothing of them outlives the test."""
    yield
    await postgresql.close_pools()
    await sync_to_async(connections.close_all)()
