import contextlib
import os
import signal
import time
from pathlib import Path

from chatproject.launcher.errors import refuse

PROC = Path("/proc")


def end_leftovers(executable: str, directory: Path, stop_signal: signal.Signals, patience: float = 15.0) -> None:
    """When this returns, no process of an earlier start works in `directory` any more.

    A launcher that was killed leaves its servers behind. They are told apart by what they run and where they stand
    (their working directory is their data directory), never by a number that another process may have by now.
    Where there is no /proc nothing is found and the server's own lock decides.
    """
    for sign, seconds in ((stop_signal, patience), (signal.SIGKILL, 5.0)):
        for pid in _heads(found := processes_in(executable, directory)):
            _tell(pid, sign)
        if not found or _gone(executable, directory, seconds):
            return
    refuse(f"A former {executable} still works in {directory} and cannot be ended.")


def processes_in(executable: str, directory: Path) -> list[int]:
    place = os.path.realpath(directory)
    pids = [int(entry.name) for entry in PROC.glob("[0-9]*")]
    return [pid for pid in pids if _runs(pid, executable) and _link(pid, "cwd") == place]


def _runs(pid: int, executable: str) -> bool:
    return os.path.basename(_link(pid, "exe")).removesuffix(" (deleted)") == executable


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(PROC / str(pid) / name)
    except OSError:
        return ""


def _heads(pids: list[int]) -> list[int]:
    """The processes whose parent is not one of them: a server ends its own helpers in its own order."""
    return [pid for pid in pids if _parent(pid) not in pids]


def _parent(pid: int) -> int:
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def _tell(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)
        os.kill(pid, signal.SIGCONT)


def _gone(executable: str, directory: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while processes_in(executable, directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
