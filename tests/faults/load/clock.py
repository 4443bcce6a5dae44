"""A phone's clock, which may be decades off, and the ids made with it, which may not."""

import random
import time
from datetime import UTC, datetime

from waypost_client.clock import uuid7


class PhoneClock:
    """`skew` is what the phone's clock is off by; what the server says at each connect puts the ids right."""

    def __init__(self, rng: random.Random, skew: float) -> None:
        self._rng = rng
        self._skew = skew
        self._offset: float | None = None

    @property
    def is_set(self) -> bool:
        return self._offset is not None

    def set(self, server_time: str) -> None:
        self._offset = datetime.fromisoformat(server_time).astimezone(UTC).timestamp() - self._phone()

    def new_mid(self) -> str:
        """A UUIDv7 of this moment on the server's clock."""
        return str(uuid7(int((self._phone() + (self._offset or 0.0)) * 1000)))

    def _phone(self) -> float:
        return time.time() + self._skew
