"""The parts that need no servers, as programs of their own: what they print is shown, their exit code is their judgement.

They run beside what waits for servers most of its time, one after the other, and take only the processor time that nothing else asks for.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Self

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.console import say

MODEL = "tests.faults.model"
SIMULATION = "tests.faults.simulation"
POLITENESS = 19


class Programs:
    """A queue of them. Leaving the block ends what still runs and begins nothing more."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._turn = Lock()
        self._running: subprocess.Popen[str] | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._turn:
            self._is_over = True
            if self._running is not None:
                # With the processes that it has started.
                with suppress(ProcessLookupError):
                    os.killpg(self._running.pid, signal.SIGKILL)
        self._thread.shutdown(cancel_futures=True)

    def start(self, module: str, arguments: Sequence[str] = ()) -> Future[bool]:
        """Whether the program kept, or caught, what it had to."""
        return self._thread.submit(self._run, module, arguments)

    def _run(self, module: str, arguments: Sequence[str]) -> bool:
        with self._turn:
            if self._is_over:
                return False
            process = self._running = _begin(module, arguments)
        said, _ = process.communicate()
        with self._turn:
            self._running = None
            if not self._is_over:
                say(f"\n  {module.rpartition('.')[2]} {' '.join(arguments)}\n{said.rstrip()}")
        return process.returncode == 0


def _begin(module: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [str(PYTHON), "-m", module, *arguments],
        env={**os.environ, "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, POLITENESS)
    return process
