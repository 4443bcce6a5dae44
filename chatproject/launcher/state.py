import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatproject.launcher.errors import refuse

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".state"
LOGS = STATE / "logs"
LARGE_LOG_BYTES = 10_000_000


def open_log(name: str) -> Path:
    """The log file of that name; what it holds from earlier starts stays, unless it has grown large."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    if log.exists() and log.stat().st_size > LARGE_LOG_BYTES:
        log.rename(log.with_suffix(".log.1"))
    return log


@contextmanager
def only_one(name: str, refusal: str) -> Iterator[None]:
    """Holds `.state/<name>.lock`. Another process that holds it: LauncherError with `refusal`.

    The kernel lets go of it when the process ends, however it ends.
    """
    with _lock_file(name) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(refusal)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield


def holder(name: str) -> int | None:
    """The process that holds `.state/<name>.lock`, if one does."""
    with _lock_file(name) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.pread(descriptor, 20, 0) or 0) or None
        return None


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Waits for its turn at `.state/<name>.lock`."""
    with _lock_file(name) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _lock_file(name: str) -> Iterator[int]:
    STATE.mkdir(exist_ok=True)
    descriptor = os.open(STATE / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
