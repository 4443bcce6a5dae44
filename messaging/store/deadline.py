"""How long a call to a store may take."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from messaging.store.protocol import StoreUnavailable

Answer = TypeVar("Answer")

CALL_SECONDS = 1.9
SECOND_CANCEL_SECONDS = 0.1
_TOO_LATE = "the message store gave no answer in time"


async def within(work: Coroutine[Any, Any, Answer], seconds: float = CALL_SECONDS) -> Answer:
    """The result of `work`. Raises `StoreUnavailable` after `seconds`, whatever `work` is doing.

    A driver that is cancelled may first ask its server to stop and wait for the answer: the caller does not wait for that, and a second
    cancellation makes the driver drop the connection.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if task.done():
        return task.result()
    _abandon(task)
    raise StoreUnavailable(_TOO_LATE)


def _abandon(task: asyncio.Task[Any]) -> None:
    task.add_done_callback(_forget)
    task.cancel()
    task.get_loop().call_later(SECOND_CANCEL_SECONDS, task.cancel)


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


@asynccontextmanager
async def deadline(seconds: float = CALL_SECONDS) -> AsyncIterator[None]:
    """Limits what stands in it, where nothing has to be undone when it is cancelled. Raises `StoreUnavailable` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as late:
        raise StoreUnavailable(_TOO_LATE) from late
