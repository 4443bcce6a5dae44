"""Clocks. PostgreSQL's decides; this process's serves where nothing is lost by its being wrong, and is compared with that one where something could be.

What needs a clock that nobody sets asks `time.monotonic` or the loop.
"""

import logging
import time
from datetime import datetime

from django.db import connection

from accounts.wire.refusals import StorageUnavailable

logger = logging.getLogger(__name__)

# Clocks that are further apart do not agree on what is over, and what is not yet there.
LARGEST_DIFFERENCE_MS = 3600 * 1000
LARGEST_STEP_MS = 60_000
STANDS_MS = 30_000


def now_ms() -> int:
    """This process's clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def postgresql_now() -> datetime:
    """PostgreSQL's clock, asked on the synchronous road."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def agrees(server_ms: int) -> bool:
    """Whether this process's clock and PostgreSQL's, which has just said this, are near enough to each other."""
    return abs(server_ms - now_ms()) <= LARGEST_DIFFERENCE_MS


def _steady_ns() -> int:
    """A clock nobody sets; where the system has one that also counts while it is suspended, that one."""
    steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(steady)


class ClockGuard:
    """Notices when PostgreSQL's clock moves against one that nobody sets.

    One bad second of the database's clock must not become ids and buckets that push conversations a month ahead. A clock that stays where it has
    jumped to was put right (or this process was started while it was wrong), and is believed.
    """

    def __init__(self) -> None:
        self._offset_ms: int | None = None
        self._jumped_ms: int | None = None
        self._jumped_at_ms = 0

    def check(self, server_ms: int, *, steady_ms: int | None = None) -> None:
        """Raise StorageUnavailable while the clock stands more than a minute from where it was, until it has stood there for a while."""
        steady = _steady_ns() // 1_000_000 if steady_ms is None else steady_ms
        offset = server_ms - steady
        if self._offset_ms is None or abs(offset - self._offset_ms) <= LARGEST_STEP_MS:
            self._offset_ms, self._jumped_ms = offset, None
        elif self._jumped_ms is None or abs(offset - self._jumped_ms) > LARGEST_STEP_MS:
            logger.error(
                "PostgreSQL's clock has jumped by %d s; nothing is appended", (offset - self._offset_ms) // 1000
            )
            self._jumped_ms, self._jumped_at_ms = offset, steady
            raise StorageUnavailable("The database's clock has jumped.")
        elif steady - self._jumped_at_ms < STANDS_MS:
            raise StorageUnavailable("The database's clock has jumped.")
        else:
            self._offset_ms, self._jumped_ms = offset, None
