"""Waiting for a while, or until there is a reason to go on."""

import asyncio
import random


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Return True as soon as the event is set, False when it was not for so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def about(seconds: float, part: float = 0.2) -> float:
    """So long, more or less by at most this part: what many do regularly they do not do in one moment."""
    return seconds * random.uniform(1 - part, 1 + part)  # noqa: S311  (spreads load, guards nothing)
