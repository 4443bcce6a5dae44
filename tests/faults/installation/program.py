"""A program of the installation that is no web worker: it is at work when its log says so."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chatproject.launcher.errors import refuse
from chatproject.launcher.state import CHECKOUT

START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05


class Program:
    """One process. Its output is its log."""

    def __init__(
        self, name: str, command: Sequence[str], *, ready: str, log: Path, environment: Mapping[str, str]
    ) -> None:
        """`ready` are the words in the log that say that it is at work."""
        self.name = name
        self.log = log
        self._command = command
        self._ready = ready.encode()
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Returns when it is at work. LauncherError if it ends before, or takes too long."""
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=CHECKOUT,
                env={**self._environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while self._ready not in self._said(began):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.hurry()
                refuse(f"{self.name} did not start; see {self.log}")
            time.sleep(POLL_SECONDS)

    def _said(self, began: int) -> bytes:
        with self.log.open("rb") as log:
            log.seek(began)
            return log.read()

    def wait(self) -> int:
        return self._process.wait() if self._process else 0

    def stop(self, *, hurry: bool = False) -> None:
        """Returns when it is gone."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL if hurry else signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.hurry()
            self._process.wait()

    def hurry(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, sign: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(sign)
