"""Fixtures for all tests: a Redis database and an SMS file of their own, and the cast (`tests/cast.py`)."""

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.db import connections

from accounts import postgresql, valkey
from tests import emptying
from tests.cast import Http, Installation
from tests.scheduling import Together

emptying.install()
# The server of the tests need not outlive a power cut, and every process that starts here would say so.
logging.getLogger("accounts.durability").addFilter(lambda _: False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    return Together(config, log)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A numbered database of the test server for this run: runs beside it do not see its counters. Empty at the start."""
    from django.conf import settings  # noqa: PLC0415  (not before pytest-django has set it up)

    # Processes of one run have numbers; runs by hand that share a server are told apart by chance.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    number = int(worker) + 1 if worker else os.getpid() % 8 + 8
    url = f"{settings.REDIS_URL.partition('?')[0]}?db={number}"
    with redis.Redis.from_url(url) as store:
        store.flushdb()
    with pytest.MonkeyPatch.context() as busy_machine:
        # Its client is made once. In operation nobody waits so long.
        busy_machine.setattr(valkey, "PATIENCE_SECONDS", 5.0)
        valkey._client(url)
    return url


@pytest.fixture
def services(settings: Any, redis_url: str, tmp_path: Path) -> None:
    """What registration needs beside PostgreSQL."""
    settings.REDIS_URL = redis_url
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": redis_url}}
    # Published hints reach every database of a Valkey, and devices of other runs may have the same ids.
    settings.HINT_KEY = f"{settings.HINT_KEY} of process {os.getpid()}"
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
