"""The writing half of one socket: a queue, and one task that empties it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

SendBytes = Callable[[bytes], Awaitable[None]]
SendClose = Callable[[int], Awaitable[None]]

# Answers and notices (envelopes have their own window) that a client may leave unread.
MOST_QUEUED = 4096


class SocketWriter:
    """Frames go out in the order they were put. Putting never waits; a client that does not read is closed 4408."""

    def __init__(self, send: SendBytes, close: SendClose) -> None:
        self._send = send
        self._close = close
        self._queue: deque[bytes] = deque()
        self._closing: int | None = None
        self._wake = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Queue one frame; ignored once the socket is closing."""
        if self._closing is not None:
            return
        if len(self._queue) >= MOST_QUEUED:
            self._queue.clear()
            self.close(4408)
            return
        self._queue.append(frame)
        self._wake.set()

    def close(self, code: int) -> None:
        """Close the socket after what is queued. The first code wins."""
        if self._closing is None:
            self._closing = code
            self._wake.set()

    async def run(self) -> None:
        """Write until the socket is to be closed, then close it."""
        while self._queue or self._closing is None:
            if not self._queue:
                await self._wake.wait()
                self._wake.clear()
            while self._queue:
                await self._send(self._queue.popleft())
        await self._close(self._closing)
