import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from chatproject.launcher.errors import LauncherError, refuse
from chatproject.launcher.leftovers import end_leftovers, working_in

LEFTOVER_PATIENCE_SECONDS = 15.0
HAUNTED_SECONDS = 15.0


class DiedAtStart(LauncherError):
    """The process ended before it was ready; `output` is what this attempt wrote."""

    def __init__(self, name: str, reason: str, output: str) -> None:
        super().__init__(f"{name} did not start: {reason}")
        self.output = output


@dataclass(frozen=True)
class Command:
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    uid: int | None = None


class Server(ABC):
    """A database server of our own: one process, one data directory, one log.

    Its directory belongs to it alone. It survives a kill -9 of itself or of whoever started it: the next `start`
    ends what was left and goes on with the data. `stop` may be called from another thread while `start` waits.
    """

    name: str
    executable: str
    stop_signal = signal.SIGTERM
    hurry_signal = signal.SIGKILL
    start_patience = 60.0
    stop_patience = 30.0

    def __init__(self, directory: Path, *, log: Path | None = None) -> None:
        self.directory = Path(os.path.abspath(directory))
        self.log = log or self.directory / "server.log"
        self.version = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._turn = threading.Lock()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach it."""

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @abstractmethod
    def prepare(self) -> Command:
        """Makes what the process needs on disk and returns how it is started."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers a client, and if so, which version it is is known."""

    def is_haunted(self, _output: str) -> bool:
        """Whether the remains of a former process refused this start, so that it is worth another try at once."""
        return False

    @abstractmethod
    def forget(self) -> None:
        """Removes what a stopped server leaves outside its directory."""

    def clear(self) -> None:
        """Empties the data of a server that does not run, so that the next start is a first one."""
        self._end_leftovers()
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when clients are answered. DiedAtStart or LauncherError if that cannot be had."""
        if self.alive():
            return
        self._wanted = True
        self.data.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._end_leftovers()
        command = self.prepare()
        self._start_among_remains(command)

    def _end_leftovers(self) -> None:
        end_leftovers(lambda: working_in(self.data, self.executable), self.stop_signal, LEFTOVER_PATIENCE_SECONDS)

    def _start_among_remains(self, command: Command) -> None:
        deadline = time.monotonic() + HAUNTED_SECONDS
        while True:
            try:
                self._spawn(command)
                self._await_ready()
            except DiedAtStart as death:
                if not self.is_haunted(death.output) or time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
            else:
                return

    def _spawn(self, command: Command) -> None:
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        with self._turn, self.log.open("ab") as log:
            if not self._wanted:
                refuse(f"{self.name} was stopped while it started.")
            self._process = subprocess.Popen(
                command.arguments,
                cwd=self.data,
                env=command.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for the launcher, which then stops its servers in its own order.
                start_new_session=True,
                user=command.uid,
                group=command.uid,
                extra_groups=None if command.uid is None else [],
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self.start_patience
        while not self.is_ready():
            if not self.alive():
                raise DiedAtStart(self.name, self._last_words(), self._output())
            if time.monotonic() > deadline:
                self.kill()
                refuse(f"{self.name} did not answer within {self.start_patience:.0f} s; see {self.log}")
            time.sleep(0.03)

    def _output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    def _last_words(self) -> str:
        output = self._output()
        if "No space left on device" in output:
            return f"the disk that holds {self.directory} is full."
        fatal = [line for line in output.splitlines() if "FATAL" in line or "ERROR" in line or "rror:" in line]
        said = fatal[-1].strip() if fatal else (output.strip().splitlines() or ["it said nothing"])[-1]
        return f"{said} (see {self.log})"

    def stop(self, *, hurry: bool = False) -> None:
        """Returns when the process is gone; whatever it promised to keep is on disk."""
        with self._turn:
            self._wanted = False
        if self._process is None:
            return
        self._signal(self.hurry_signal if hurry else self.stop_signal)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(self.stop_patience)
        except subprocess.TimeoutExpired:
            self.kill()
        self.forget()

    def hurry(self) -> None:
        """Makes a `stop` that another thread waits in end sooner."""
        self._signal(self.hurry_signal)

    def kill(self) -> None:
        """Ends the process with SIGKILL, as a crash would."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def wait(self) -> int:
        """Returns the exit code when the process ends, whatever ended it."""
        return self._process.wait() if self._process else 0

    def _signal(self, sign: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(sign)
