"""A child of an installation in our hand: it may be killed, stopped, continued, restarted and kept away, while its supervisor does what it always does."""

import contextlib
import signal
import threading
import time
from pathlib import Path
from typing import Protocol

import psutil

from chatproject.launcher.errors import refuse
from chatproject.launcher.together import Child

POLL_SECONDS = 0.05


class Process(Child, Protocol):
    """A child that knows its process."""

    @property
    def pid(self) -> int | None: ...


class Handle:
    """What the supervisor keeps is this, so a start again waits while the child is kept away."""

    def __init__(self, child: Process) -> None:
        self.child = child
        self.name = child.name
        self.log: Path = child.log
        self.starts = 0
        self._may_start = threading.Event()
        self._may_start.set()
        self._over = False

    # --- for the supervisor ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the child as soon as it is not kept away. LauncherError once the installation ends."""
        self._may_start.wait()
        if self._over:
            refuse(f"{self.name} is not started again: the installation ends.")
        self.child.start()
        self.starts += 1

    def wait(self) -> int:
        return self.child.wait()

    def stop(self, *, hurry: bool = False) -> None:
        self._over = True
        self._may_start.set()
        self.resume()
        self.child.stop(hurry=hurry)

    def hurry(self) -> None:
        self.child.hurry()

    # --- for the hand ----------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process; 0 before the first start."""
        return self.child.pid or 0

    def processes(self) -> list[psutil.Process]:
        """The process and all below it: a stopped postmaster alone would not stop its backends. Empty when it is dead."""
        with contextlib.suppress(psutil.Error, ValueError):
            top = psutil.Process(self.pid)
            if self.pid and top.status() != psutil.STATUS_ZOMBIE:
                return [top, *top.children(recursive=True)]
        return []

    def alive(self) -> bool:
        """Whether it runs or stands still."""
        return bool(self.processes())

    def send(self, sign: signal.Signals) -> None:
        """Signal the process itself. Nothing happens to a dead one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in self.processes()[:1]:
                process.send_signal(sign)

    def kill(self) -> None:
        """Kill it as a crash does. It is started again, unless it is kept away."""
        self.send(signal.SIGKILL)

    def suspend(self) -> None:
        """Let the process, and what is below it, stand still."""
        self._tell_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on. Nothing happens to what runs."""
        self._tell_all(signal.SIGCONT)

    def _tell_all(self, sign: signal.Signals) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(sign)

    def keep_away(self) -> None:
        """From now on a dead child stays dead, until `let_back`."""
        self._may_start.clear()

    def let_back(self) -> None:
        self._may_start.set()

    def await_death(self, seconds: float) -> bool:
        """Whether it is dead within so long."""
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return not self.alive()

    def await_start(self, count: int, seconds: float) -> bool:
        """Whether it has been started `count` times within so long."""
        deadline = time.monotonic() + seconds
        while self.starts < count and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return self.starts >= count
