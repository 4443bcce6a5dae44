"""Whoever waits goes on when there is a reason, and after a while in any case."""

import asyncio

import pytest

from messaging import pauses
from messaging.pauses import about, for_ever, is_set_within


async def test_a_reason_ends_the_wait_and_without_one_its_time_does() -> None:
    reason = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, reason.set)
    assert await is_set_within(reason, 30)
    reason.clear()
    assert not await is_set_within(reason, 0.01)


def test_what_many_wait_for_is_spread() -> None:
    waits = [about(30.0) for _ in range(200)]
    assert 24 <= min(waits) < 28 < 32 < max(waits) <= 36
    assert 15 <= min(about(30.0, 0.5) for _ in range(200)) < 24


async def test_a_part_that_fails_begins_anew_and_one_that_ends_has_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The heart of a process that met a table that was being restored would otherwise stand still until the process ends."""
    monkeypatch.setattr(pauses, "FAILED_SECONDS", 0.001)
    begun = 0

    async def part() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            message = "topsecret"
            raise LookupError(message)

    await asyncio.wait_for(for_ever("the heart", part), 5)
    assert begun == 3
    assert [record.getMessage() for record in caplog.records] == ["the heart failed and begins anew: LookupError"] * 2


async def test_a_part_that_is_ended_does_not_begin_anew() -> None:
    begun = asyncio.Event()

    async def part() -> None:
        begun.set()
        await asyncio.sleep(30)

    task = asyncio.create_task(for_ever("the heart", part))
    await begun.wait()
    await asyncio.wait_for(pauses.end_all({task}), 5)
    assert task.cancelled()
