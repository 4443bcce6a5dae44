import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.console import complain
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import CHECKOUT

COMMAND = (str(PYTHON), "-m", "chatproject.serve")
START_PATIENCE = 60.0
STOP_PATIENCE = 30.0
# What the terminal need not show, because the log has it: date, time, and one of these levels, as settings.LOGGING writes them.
QUIET = re.compile(r"\S+ \S+ (INFO|DEBUG) ")


@contextlib.contextmanager
def lifeline() -> Iterator[int]:
    """The read end of a pipe that closes with us, however we end: workers that hold it go when we go."""
    life, ours = os.pipe()
    try:
        yield life
    finally:
        os.close(ours)
        os.close(life)


class Worker:
    """One web process: takes connections from a socket it shares with the others, says when it is ready, goes when we go.

    Its stdout is the terminal, where an SMS that nobody sends shows its code; its stderr is the log.
    """

    def __init__(
        self,
        name: str,
        listener: socket.socket,
        *,
        life: int,
        log: Path,
        environment: Mapping[str, str],
        command: Sequence[str] = COMMAND,
        show: Callable[[str], None] = complain,
    ) -> None:
        """`life` is what `lifeline` gives; `show` gets what its log has to say to whoever sits at the terminal."""
        self.name = name
        self.log = log
        self._listener = listener
        self._life = life
        self._environment = environment
        self._command = command
        self._show = show
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Returns when it answers requests. LauncherError if it ends before, or takes too long."""
        heard, ready = os.pipe()
        with open(heard, "rb") as pipe:
            try:
                self._process = self._spawn(ready)
            finally:
                os.close(ready)
            threading.Thread(target=self._keep_log, args=[self._process.stderr], daemon=True).start()
            self._await(pipe)

    def _spawn(self, ready: int) -> "subprocess.Popen[str]":
        listener = self._listener.fileno()
        descriptors = ["--fd", str(listener), "--ready-fd", str(ready), "--life-fd", str(self._life)]
        return subprocess.Popen(
            [*self._command, *descriptors],
            cwd=CHECKOUT,
            env={**self._environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=(listener, ready, self._life),
            start_new_session=True,
        )

    def _await(self, pipe: IO[bytes]) -> None:
        readable, _, _ = select.select([pipe], [], [], START_PATIENCE)
        if not readable:
            self.stop(hurry=True)
            refuse(f"{self.name} was not ready within {START_PATIENCE:.0f} s; see {self.log}")
        if not pipe.read(1):
            self.wait()
            refuse(f"{self.name} ended before it was ready; see {self.log}")

    def _keep_log(self, stderr: IO[str]) -> None:
        with stderr, self.log.open("a") as log:
            for line in stderr:
                log.write(line)
                log.flush()
                if not QUIET.match(line):
                    self._show(line.rstrip())

    def wait(self) -> int:
        return self._process.wait() if self._process else 0

    def stop(self, *, hurry: bool = False) -> None:
        """Returns when the process is gone; requests that run and open sockets are ended in good order unless `hurry`."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL if hurry else signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.hurry()
            self._process.wait()

    def hurry(self) -> None:
        """Makes a `stop` that another thread waits in end at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, sign: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(sign)
