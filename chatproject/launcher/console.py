import contextlib
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

REPORT_EVERY_SECONDS = 5.0

_one_at_a_time = threading.Lock()


def say(text: str = "") -> None:
    """Prints one line, whole, whichever thread says it."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """The same on stderr."""
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    # The terminal may be gone while there is still something to put away.
    with _one_at_a_time, contextlib.suppress(OSError, ValueError):
        stream.write(f"{text}\n")
        stream.flush()


class Progress:
    """A step that takes long enough to be watched: says when it begins, how far it is, and how long it took."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.began = time.monotonic()
        self.reported = self.began

    def __enter__(self) -> "Progress":
        say(f"  … {self.title}")
        return self

    def report(self, text: str) -> None:
        """Says how far it is, a few seconds after the last report at the earliest."""
        now = time.monotonic()
        if now - self.reported >= REPORT_EVERY_SECONDS:
            self.reported = now
            say(f"    {text}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            say(f"  ✓ {self.title} ({time.monotonic() - self.began:.1f} s)")
