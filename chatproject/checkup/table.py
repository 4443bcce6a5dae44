"""The table: a row for each step, with its time; and what ends a step."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx
import psycopg
import redis
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from websockets.exceptions import WebSocketException

from accounts.wire.refusals import ChatError
from messaging.store.protocol import StoreUnavailable

Result = TypeVar("Result")

NAME_WIDTH = 62


class Unwell(Exception):
    """What was found is not what was promised. The text is a sentence for a person, without secrets."""


class StepFailed(Exception):
    """A step has failed, and its row is written."""


# What a store or the server that is away raises here, and how to say so: texts of drivers may have addresses and more.
_AWAY: dict[type[Exception], str] = {
    httpx.TimeoutException: "the server gave no answer in time",
    httpx.HTTPError: "the server cannot be reached",
    WebSocketException: "the socket was refused or has ended",
    psycopg.Error: "PostgreSQL cannot be used",
    DatabaseError: "PostgreSQL cannot be used",
    redis.RedisError: "Redis or Valkey cannot be used",
    StoreUnavailable: "the message store gave no answer",
    TimeoutError: "there was no answer in time",
    OSError: "there is no connection",
}
_EXPECTED: tuple[type[Exception], ...] = (Unwell, ChatError, ImproperlyConfigured, *_AWAY)


class Table:
    """Steps are run through it, and `write` gets a line for each. `failures`: what went wrong, a sentence each."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self.failures: list[str] = []
        self.head("step", "ms")

    def head(self, name: str, value: str) -> None:
        self._write(f"    {name:<{NAME_WIDTH}} {value:>8}")

    def step(self, name: str, work: Callable[[], Result]) -> Result:
        """What the work returns. Raises StepFailed when it fails."""
        began = time.monotonic()
        try:
            result = work()
        except _EXPECTED as failure:
            sentence = explained(failure)
            self._row("✗", name, began, sentence)
            self.failures.append(f"{name}: {sentence}")
            raise StepFailed from failure
        self._row("✓", name, began)
        return result

    def note(self, name: str, reason: str) -> None:
        """A row for what was not tried."""
        self._write(f"  · {name:<{NAME_WIDTH}}          {reason}")

    def _row(self, mark: str, name: str, began: float, remark: str = "") -> None:
        milliseconds = f"{(time.monotonic() - began) * 1000:.0f}"
        self._write(f"  {mark} {name:<{NAME_WIDTH}} {milliseconds:>8}{remark and '  '}{remark}")


def explained(failure: Exception) -> str:
    """The failure as a sentence."""
    for kind, sentence in _AWAY.items():
        if isinstance(failure, kind):
            return f"{sentence} ({type(failure).__name__})"
    return str(failure)
