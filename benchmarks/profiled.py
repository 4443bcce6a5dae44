"""A web worker that can be profiled: `python -m benchmarks.profiled MODE FILE …` is `python -m chatproject.serve …`.

SIGUSR1 starts the profiler in the event loop's thread, the next one stops it and writes FILE.
"""

import cProfile
import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Protocol

import msgspec

from chatproject import serve

SAMPLE_SECONDS = 0.001
CPU, CALLS = "cpu", "calls"
OTHER_THREADS = "(other threads)"


class Samples(msgspec.Struct):
    """Seconds of CPU by function: its own, and with everything it called."""

    count: int
    own: dict[str, float]
    everything: dict[str, float]


class Profiler(Protocol):
    def start(self) -> None: ...
    def stop(self, file: Path) -> None: ...


class CallCounter:
    """cProfile: every call, at the price of slowing each one down."""

    def __init__(self) -> None:
        self._profile = cProfile.Profile()

    def start(self) -> None:
        self._profile.enable()

    def stop(self, file: Path) -> None:
        self._profile.disable()
        self._profile.dump_stats(file)


class Sampler:
    """Looks at the stack each time the process has used some more CPU: slows nothing down, and other processes do not distort it.

    What happens in C counts for the Python function that called it; what the event loop does in C, for the loop. Other threads (a database
    driver's) cannot be looked into from here: what they use is one entry.
    """

    def __init__(self) -> None:
        self._count = 0
        self._own: defaultdict[str, float] = defaultdict(float)
        self._everything: defaultdict[str, float] = defaultdict(float)
        self._of_thread = self._of_process = 0.0

    def start(self) -> None:
        self._of_thread, self._of_process = time.thread_time(), time.process_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def stop(self, file: Path) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_bytes(msgspec.json.encode(Samples(self._count, dict(self._own), dict(self._everything))))

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        here, elsewhere = self._since_last()
        self._count += 1
        self._own[OTHER_THREADS] += elsewhere
        if frame is None:
            return
        self._own[_name(frame)] += here
        for name in _stack(frame):
            self._everything[name] += here

    def _since_last(self) -> tuple[float, float]:
        """CPU of this thread and of the others since the last look."""
        of_thread, of_process = time.thread_time(), time.process_time()
        here, both = of_thread - self._of_thread, of_process - self._of_process
        self._of_thread, self._of_process = of_thread, of_process
        return here, max(0.0, both - here)


def _stack(frame: FrameType) -> set[str]:
    names = set()
    above: FrameType | None = frame
    while above is not None:
        names.add(_name(above))
        above = above.f_back
    return names


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{code.co_firstlineno} {code.co_qualname}"


def main() -> None:
    """Serve; profile between two signals."""
    mode, file = sys.argv.pop(1), Path(sys.argv.pop(1))
    profiler: Profiler = Sampler() if mode == CPU else CallCounter()
    running = False

    def toggle(_number: int, _frame: FrameType | None) -> None:
        nonlocal running
        running = not running
        if running:
            profiler.start()
            return
        unfinished = file.with_suffix(".part")
        profiler.stop(unfinished)
        os.replace(unfinished, file)

    signal.signal(signal.SIGUSR1, toggle)
    serve.main()


if __name__ == "__main__":
    main()
