"""The open sockets of one process, for what concerns all of them at once."""

import asyncio
import random
from collections.abc import Iterator
from typing import Protocol

from messaging.frames import ServerFrame

# So many sockets a second are sent away, and come back elsewhere: each costs a handshake, a token check and a drain.
LEAVING_PER_SECOND = 200.0
# A restart waits this long at most for its last socket to have been sent away.
LONGEST_FAREWELL_SECONDS = 8.0
# Nobody is asked to stay away longer than this: the other processes are there.
LONGEST_ABSENCE_SECONDS = 4.0


class OpenSocket(Protocol):
    """One authenticated socket."""

    def tell(self, frame: ServerFrame) -> None:
        """Queue a frame for it. Never waits, never raises."""

    async def leave(self, *, absence_ms: int) -> None:
        """Return when everything it asked is answered and its closing frame (1012, with the advice to stay away so long) is queued."""


class OpenSockets:
    """Those of one process."""

    def __init__(self) -> None:
        self._open: set[OpenSocket] = set()

    def __iter__(self) -> Iterator[OpenSocket]:
        return iter(tuple(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def add(self, socket: OpenSocket) -> None:
        self._open.add(socket)

    def discard(self, socket: OpenSocket) -> None:
        self._open.discard(socket)

    def tell(self, frame: ServerFrame) -> None:
        """Queue a frame for each."""
        for socket in self:
            socket.tell(frame)

    async def farewell(self) -> None:
        """Send all away, spread over time, each with another advice when to come back: they must not meet again in one moment."""
        leaving = random.sample(tuple(self._open), len(self._open))
        spread = min(LONGEST_FAREWELL_SECONDS, len(leaving) / LEAVING_PER_SECOND)
        absence = min(LONGEST_ABSENCE_SECONDS, len(leaving) / LEAVING_PER_SECOND)
        async with asyncio.TaskGroup() as farewells:
            for number, socket in enumerate(leaving):
                farewells.create_task(_send_away(socket, after=spread * number / len(leaving), absence=absence))


async def _send_away(socket: OpenSocket, *, after: float, absence: float) -> None:
    await asyncio.sleep(after)
    await socket.leave(absence_ms=round(1000 * random.uniform(0, absence)))  # noqa: S311  (spreads load, guards nothing)
