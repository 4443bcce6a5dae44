"""What a killed launcher left running. Found by what it is, never by a number that another process may have by now."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from chatproject.launcher.errors import refuse

PROC = Path("/proc")
Finder = Callable[[], list[int]]


def end_leftovers(find: Finder, stop_signal: signal.Signals, patience: float) -> None:
    """When this returns, `find` finds no process any more: asked to stop first, killed if they do not."""
    for sign, seconds in ((stop_signal, patience), (signal.SIGKILL, 5.0)):
        found = find()
        for pid in _heads(found):
            _tell(pid, sign)
        if not found or _gone(find, seconds):
            return
    refuse(f"A process of an earlier start cannot be ended: {find()}")


def working_in(directory: Path, executable: str) -> list[int]:
    """The processes of a server whose data directory this is. Without /proc none; the server's own lock decides then."""
    place = os.path.realpath(directory)
    return [pid for pid in _pids() if _runs(pid, executable) and _link(pid, "cwd") == place]


def carrying(variable: str) -> list[int]:
    """The processes that were started with `NAME=value` in their environment."""
    return [pid for pid in _pids() if pid != os.getpid() and os.fsencode(variable) in _environment(pid)]


def environment_of(pid: int) -> dict[str, str]:
    """What the process was started with; nothing when it is gone."""
    pairs = (os.fsdecode(pair).partition("=") for pair in _environment(pid) if b"=" in pair)
    return {name: value for name, _, value in pairs}


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.glob("[0-9]*")]


def _runs(pid: int, executable: str) -> bool:
    return Path(_link(pid, "exe")).name.removesuffix(" (deleted)") == executable


def _link(pid: int, name: str) -> str:
    try:
        return str((PROC / str(pid) / name).readlink())
    except OSError:
        return ""


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _heads(pids: list[int]) -> list[int]:
    """Those whose parent is not one of them: a server ends its own helpers in its own order."""
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


def _gone(find: Finder, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while find():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
