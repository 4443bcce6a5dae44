"""A PostgreSQL that may forget what it has answered is named in the log."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from accounts import durability, postgresql, statements

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def pools(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(durability.logger, "filters", [])
    yield
    await postgresql.close_pools()


async def test_settings_that_are_off_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Those of the tests are: their server need not outlive a power cut."""
    assert await statements.rows("SELECT setting FROM pg_settings WHERE name = 'fsync'", []) == [("off",)]
    await asyncio.wait_for(durability.warn(), 10)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().endswith(": fsync, full_page_writes, synchronous_commit off")


async def test_nothing_is_said_of_a_server_that_keeps_what_it_answers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "WEAK", durability.WEAK.replace("'off'", "'never'"))
    await asyncio.wait_for(durability.warn(), 10)
    assert not caplog.records
