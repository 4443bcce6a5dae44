"""The load generator as a process of ours: commands go in, answers and statuses come out."""

import itertools
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import CHECKOUT
from tests.faults.load.plan import Plan

FOUND_SECONDS = 180.0
ANSWER_SECONDS = 30.0
QUIT_SECONDS = 60.0
Json = dict[str, Any]


class Load:
    """A running load. `statuses` grows twice a second."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self._ids = itertools.count(1)
        self._answers: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self.statuses: list[Json] = []
        self.summary: Json = {}
        threading.Thread(target=self._listen, args=[process.stdout], daemon=True, name="load").start()

    def tell(self, do: str, *, within: float = ANSWER_SECONDS, **details: Any) -> Json:
        """The answer to a command. LauncherError when the load has ended, or does not answer in time."""
        number = next(self._ids)
        self._say({"do": do, "id": number} | details)
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            self.check()
            try:
                answer = self._answers.get(timeout=0.5)
            except queue.Empty:
                continue
            if answer.get("id") == number:
                return answer
        return refuse(f"The load did not answer {do!r} within {within:.0f} s; see {self._log}")

    def check(self) -> None:
        """LauncherError when the load has ended by itself."""
        if self._process.poll() is not None:
            refuse(f"The load ended with exit code {self._process.returncode}; see {self._log}")

    def quit(self) -> Json:
        """End it in good order; what it has counted."""
        if self._process.poll() is None:
            self._say({"do": "quit"})
            try:
                self._process.wait(QUIT_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self.summary

    def _say(self, command: Json) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(command) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self.check()

    def _listen(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            answer: Json = msgspec.json.decode(line)
            match answer["type"]:
                case "status" if "id" not in answer:
                    self.statuses.append(answer)
                case "ended":
                    self.summary = answer
                case _:
                    self._answers.put(answer)


@contextmanager
def load(plan: Plan, log: Path, environment: Mapping[str, str]) -> Iterator[Load]:
    """A load with everybody signed in and connected; nobody talks yet. It is gone afterwards."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [str(PYTHON), "-m", "tests.faults.load"],
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        process.stdin.flush()
        running = Load(process, log)
        running.tell("found", within=FOUND_SECONDS)
        yield running
        running.quit()
    finally:
        process.kill()
        process.wait()
