"""The server's clock, and the ids that are made with it."""

import contextlib
import secrets
import time
import uuid
from datetime import UTC, datetime

from .state import State


class ServerClock:
    """The local clock corrected by what the server last said. The correction is kept in the profile."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._offset = float(state.fact("clock_offset") or 0.0)

    def set(self, server_time: datetime) -> None:
        self._offset = server_time.timestamp() - time.time()
        self._state.remember(clock_offset=self._offset)

    def set_text(self, server_time: str) -> None:
        """The same from a time as the wire writes it; what is no time changes nothing."""
        with contextlib.suppress(ValueError):
            self.set(datetime.fromisoformat(server_time))

    def seconds(self) -> float:
        return time.time() + self._offset

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds(), UTC)

    def new_id(self) -> str:
        """A UUIDv7 (RFC 9562, 5.7) of this moment on the server's clock."""
        return str(uuid7(int(self.seconds() * 1000)))


def uuid7(milliseconds: int) -> uuid.UUID:
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
