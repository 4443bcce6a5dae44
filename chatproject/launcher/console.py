import sys
import threading
import time
from types import TracebackType

REPORT_EVERY_SECONDS = 5.0

_one_at_a_time = threading.Lock()


def say(text: str = "") -> None:
    """Prints one line, whole, whichever thread says it."""
    with _one_at_a_time:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def complain(text: str) -> None:
    with _one_at_a_time:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


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
