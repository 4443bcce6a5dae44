"""Waiting for something to become true."""

import asyncio
from collections.abc import Callable


async def until(true: Callable[[], bool], *, seconds: float = 10) -> None:
    """Return as soon as it is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  (whatever it asks has no event)
            await asyncio.sleep(0.01)
