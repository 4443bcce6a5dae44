"""Whoever waits goes on when there is a reason, and after a while in any case."""

import asyncio

from messaging.pauses import about, is_set_within


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
