"""Waiting for a while, or until there is a reason to go on; and ending what waits."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger(__name__)

END_AGAIN_SECONDS = 0.5
FAILED_SECONDS = 1.0


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


async def for_ever(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do it, and begin anew when it fails: a part of a process that nobody waits for would be missed only when it is needed."""
    while True:
        try:
            await work()
        except Exception as failure:  # noqa: BLE001
            # It may quote a row: only its type is logged.
            logger.error("%s failed and begins anew: %s", name, type(failure).__name__)
            await asyncio.sleep(about(FAILED_SECONDS))
        else:
            return
