"""What the load is about at the moment, read from the history it is writing."""

import threading
from collections import deque
from pathlib import Path

import msgspec

from tests.faults.history import SendAnswered, SendInvoked

# Answered longer ago than this, a send is of no interest: longer than any fault with its recovery, or two at once, take.
REMEMBERED_SECONDS = 600.0
# A line begins with its type, so most need not be read at all.
SENDS = (b'{"type":"send_invoked"', b'{"type":"send_answered"')

_decoder = msgspec.json.Decoder(SendInvoked | SendAnswered)


class Observer:
    """Follows a history that another process appends to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._turn = threading.Lock()
        self._open: dict[str, float] = {}
        self._past: deque[tuple[float, float]] = deque()
        self.acknowledged = 0

    def in_flight(self, since: float, until: float) -> int:
        """Attempts to send that were under way at some moment between the two, as far as the history is written."""
        with self._turn:
            self._read()
            waiting = sum(1 for invoked in self._open.values() if invoked <= until)
            return waiting + sum(1 for invoked, answered in self._past if invoked <= until and answered >= since)

    def count(self) -> int:
        """Attempts that were answered `sent`, as far as the history is written."""
        with self._turn:
            self._read()
            return self.acknowledged

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(end)
        for line in whole.splitlines():
            if line.startswith(SENDS):
                self._note(_decoder.decode(line))

    def _note(self, event: SendInvoked | SendAnswered) -> None:
        if isinstance(event, SendInvoked):
            self._open[event.call] = event.at
            return
        self.acknowledged += event.outcome == "ok"
        self._past.append((self._open.pop(event.call, event.at), event.at))
        while self._past and self._past[0][1] < event.at - REMEMBERED_SECONDS:
            self._past.popleft()
