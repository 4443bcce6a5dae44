"""Turns: one change at a time per conversation, and a few at a time in all.

A change waits for its conversation's row, and keeps a connection meanwhile. Without turns a conversation that somebody holds, asked to change often
enough, would take all connections, and sends in every other conversation would wait for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID
from weakref import WeakKeyDictionary, WeakValueDictionary

from accounts.wire.refusals import StorageUnavailable

MOST_AT_ONCE = 3
PATIENCE_SECONDS = 3.0


class _Turns:
    def __init__(self) -> None:
        self.places = asyncio.Semaphore(MOST_AT_ONCE)
        self.queues: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


@asynccontextmanager
async def turn(subject: UUID) -> AsyncIterator[None]:
    """Inside, nobody else in this process is at work on the subject. Raises StorageUnavailable when the turn does not come in time."""
    turns = _of_loops.setdefault(asyncio.get_running_loop(), _Turns())
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await held.enter_async_context(turns.queues.setdefault(subject, asyncio.Lock()))
                await held.enter_async_context(turns.places)
        except TimeoutError as failure:
            raise StorageUnavailable from failure
        yield
