"""A wrong wall clock for one process, where libfaketime is installed. The clock that counts seconds since the start stays right, as it does in life."""

from pathlib import Path

PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def library() -> Path | None:
    """libfaketime, None where it is not installed."""
    return next((found for place in PLACES for found in sorted(Path("/").glob(place.lstrip("/")))), None)


class WrongClock:
    """The offset of one process's clock, changed by writing it into a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.shift(0)

    def environment(self, faketime: Path) -> dict[str, str]:
        """What the process is started with."""
        return {
            "LD_PRELOAD": str(faketime),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # What else it does for threads that wait makes Python's spin: each waits for the interpreter's lock with a time-out.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            # Processes would wait for each other at every look at the clock, also for one that was killed there.
            "FAKETIME_DISABLE_SHM": "1",
        }

    def shift(self, seconds: int) -> None:
        """From the next second on the clock is ahead by so much, or behind."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._file)
