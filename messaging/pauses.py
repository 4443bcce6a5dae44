"""Waiting for a while, or until there is a reason to go on; and ending what waits."""

import asyncio
import random

END_AGAIN_SECONDS = 0.5


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


async def end_all(tasks: set["asyncio.Task[None]"]) -> None:
    """Cancel until all have ended: one that was just leaving a time-out or a driver's call may not hear it the first time."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=END_AGAIN_SECONDS)
