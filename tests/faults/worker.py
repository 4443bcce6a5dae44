"""`python -m tests.faults.worker`: a web worker as the launcher starts it, of the application that can be harmed."""

import os
import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


if "FAKETIME_TIMESTAMP_FILE" in os.environ:
    # Python sleeps until a moment, and libfaketime takes some moments for invalid (EINVAL) once the clock was set.
    time.sleep = _sleep  # type: ignore[assignment]

from chatproject.serve import main  # noqa: E402  (not before there is a sleep for everybody)

if __name__ == "__main__":
    main("tests.faults.application:application")
