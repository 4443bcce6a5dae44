"""`--profile`: one web worker under a profiler for one window, then where its time went."""

import os
import pstats
import re
import signal
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.events import Event, Measured, Warm
from benchmarks.figures import Window
from benchmarks.generator import under_load
from benchmarks.installation import web_workers
from benchmarks.options import Options
from benchmarks.profiled import CPU, Samples
from benchmarks.runs import APPLICATION, describe, load_of, prepare
from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.console import say
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import CHECKOUT

TOP = 60
WRITE_SECONDS = 10.0


def main(asked: Options) -> int:
    """Profile the first layout asked for."""
    environment, pairs = prepare(asked.layouts[0], asked)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "profile"
        command = (str(PYTHON), "-m", "benchmarks.profiled", asked.profile, str(file))
        with web_workers(environment, 1, command) as installation:
            load = load_of(asked, installation, pairs, {APPLICATION: installation.pids})
            window: Window | None = None
            for event in under_load(load):
                say(f"    {describe(event, 1, load)}")
                if _is_edge(event, window):
                    os.kill(installation.pids[0], signal.SIGUSR1)
                if isinstance(event, Measured) and window is None:
                    window = event.window
            if window is None:
                refuse("Nothing was measured.")
            _wait_for(file)
            say(_by_samples(file, window) if asked.profile == CPU else _by_calls(file, window))
    return 0


def _is_edge(event: Event, window: Window | None) -> bool:
    """Whether the first window begins or ends here."""
    return isinstance(event, Warm) or (isinstance(event, Measured) and window is None)


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + WRITE_SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            refuse("The worker wrote no profile.")
        time.sleep(0.05)


def _by_samples(file: Path, window: Window) -> str:
    """Functions by the CPU they used."""
    samples = msgspec.json.decode(file.read_bytes(), type=Samples)
    everything = sum(samples.own.values())
    head = f"{window.messages:,} messages, {1e6 * everything / window.messages:.0f} µs each, {samples.count:,} samples"
    own, called = (_ranked(part, everything, window.messages) for part in (samples.own, samples.everything))
    return "\n".join(
        [f"\n  {head}", "\n  µs per message, by own time", *own, "\n  the same, with everything called", *called]
    )


def _ranked(seconds: dict[str, float], everything: float, messages: int) -> Iterable[str]:
    for name, used in sorted(seconds.items(), key=lambda item: -item[1])[:TOP]:
        yield f"  {1e6 * used / messages:8.1f} {100 * used / everything:6.1f} %  {_short(name)}"


def _by_calls(file: Path, window: Window) -> str:
    """Functions by their own time under cProfile, which slows Python calls down: read the counts, not the times."""
    rows = sorted(pstats.Stats(str(file)).stats.items(), key=lambda item: -item[1][2])  # type: ignore[attr-defined]
    lines = [f"\n  {'own µs':>8} {'all µs':>8} {'calls':>8}  per message ({window.messages:,} messages)"]
    for (path, line, function), (_, calls, own, everything, _) in rows[:TOP]:
        figures = (1e6 * own / window.messages, 1e6 * everything / window.messages, calls / window.messages)
        name = function if path == "~" else _short(f"{path}:{line} {function}")
        lines.append("  " + " ".join(f"{figure:8.2f}" for figure in figures) + f"  {name}")
    return "\n".join(lines)


def _short(name: str) -> str:
    """Without the folder it lies in: the checkout, site-packages, or Python's own."""
    return re.sub(r"^.*/(site-packages|lib/python3\.\d+)/", "", name.removeprefix(f"{CHECKOUT}/"))
