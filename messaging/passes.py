"""What one reading of a mailbox has to remember until it is complete."""

import asyncio

from conversations.outbox import Look, Watermark
from messaging.envelopes import Cursor, Envelope, Unreadable


class Oldest:
    """The oldest un-acknowledged row a pass has seen."""

    def __init__(self) -> None:
        self.position = 2**63 - 1
        self.kept_ms = 2**63 - 1

    def note(self, row: Envelope | Unreadable) -> None:
        """This row was seen, and is not acknowledged."""
        self.position = min(self.position, row.position)
        self.kept_ms = min(self.kept_ms, row.kept_ms)


class Pass:
    """A pass over the mailbox: what it began with, the page it is at, and the oldest un-acknowledged row it has seen."""

    def __init__(self, mark: Watermark | None, look: Look | None, now_ms: int) -> None:
        self.mark = mark
        self.look = look
        self._began_ms = now_ms
        self._began = asyncio.get_running_loop().time()
        self.since: Cursor | None = None
        self.page: bytes | None = None
        self.oldest = Oldest()

    @property
    def now_ms(self) -> int:
        """The clock by which it began, and what has passed since: while the window is full a pass may wait for long, and messages expire meanwhile."""
        return self._began_ms + int((asyncio.get_running_loop().time() - self._began) * 1000)
