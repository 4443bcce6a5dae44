"""The writing half of one socket: a queue, and one task that empties it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from messaging import close_codes

SendBytes = Callable[[bytes], Awaitable[None]]
SendClose = Callable[[int, str], Awaitable[None]]

# What a client may leave unread. Envelopes have their own window, but a client may acknowledge what it never read: it can be found in the history.
MOST_QUEUED = 4096
MOST_QUEUED_BYTES = 8 * 1024 * 1024
# Of these, what is worth nothing later. Whoever sends it is anybody, and must not be able to fill the whole.
MOST_PASSING = 256
MOST_PASSING_BYTES = 512 * 1024
# A client that reads nothing does not hear that it is sent away either.
LINGER_SECONDS = 5.0


class SocketWriter:
    """Frames go out in the order they were put. Putting never waits; a client that does not read is closed as not keeping up."""

    def __init__(self, send: SendBytes, close: SendClose, cut: Callable[[], None]) -> None:
        """`cut` is called when the client has not taken its closing frame LINGER_SECONDS after it was to be closed."""
        self._send = send
        self._close = close
        self._cut = cut
        self._is_closed = False
        self._queue: deque[tuple[bytes, bool]] = deque()
        self._queued_bytes = 0
        self._passing = 0
        self._passing_bytes = 0
        self._closing: tuple[int, str] | None = None
        self._wake = asyncio.Event()

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is written than what is queued."""
        return self._closing is not None

    @property
    def closing_code(self) -> int | None:
        """The code it is closed with from here."""
        return self._closing[0] if self._closing is not None else None

    def put(self, frame: bytes) -> None:
        """Queue one frame; ignored once the socket is closing."""
        if self._closing is not None:
            return
        if len(self._queue) >= MOST_QUEUED or self._queued_bytes > MOST_QUEUED_BYTES:
            self._queue.clear()
            self.close(close_codes.NOT_KEEPING_UP)
            return
        self._append(frame, is_passing=False)

    def put_if_room(self, frame: bytes) -> None:
        """Queue one frame that may be missed: it is left out where half of what a client may leave unread is queued."""
        if 2 * len(self._queue) < MOST_QUEUED and 2 * self._queued_bytes < MOST_QUEUED_BYTES:
            self.put(frame)

    def put_passing(self, frame: bytes) -> None:
        """Queue one frame that is worth nothing later: where much of that kind waits already, it is dropped, and the client is not closed for it."""
        is_full = self._passing >= MOST_PASSING or self._passing_bytes + len(frame) > MOST_PASSING_BYTES
        if self._closing is None and not is_full and len(self._queue) < MOST_QUEUED:
            self._passing += 1
            self._passing_bytes += len(frame)
            self._append(frame, is_passing=True)

    def _append(self, frame: bytes, *, is_passing: bool) -> None:
        self._queue.append((frame, is_passing))
        self._queued_bytes += len(frame)
        self._wake.set()

    def close(self, code: int, reason: str = "") -> None:
        """Close the socket after what is queued. The first code wins; `reason` has at most 123 bytes."""
        if self._closing is None:
            self._closing = code, reason
            self._wake.set()
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        if not self._is_closed:
            self._cut()

    async def run(self) -> None:
        """Write until the socket is to be closed, then close it."""
        while self._queue or self._closing is None:
            if not self._queue:
                await self._wake.wait()
                self._wake.clear()
            while self._queue:
                frame, is_passing = self._queue.popleft()
                self._queued_bytes -= len(frame)
                if is_passing:
                    self._passing -= 1
                    self._passing_bytes -= len(frame)
                await self._send(frame)
        await self._close(*self._closing)
        self._is_closed = True
