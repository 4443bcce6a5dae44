"""One layout under load."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from benchmarks import ceiling, layouts
from benchmarks.events import Connected, Event, Finished, Load, Measured, Pair, Warm
from benchmarks.figures import Window
from benchmarks.generator import under_load
from benchmarks.installation import Installation, web_workers
from benchmarks.options import CEILING, Options
from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.console import Progress, say
from chatproject.launcher.errors import refuse
from chatproject.launcher.preparing import migrate
from chatproject.launcher.state import CHECKOUT
from chatproject.launcher.worker import COMMAND

APPLICATION = "application"


def measure(layout: str, asked: Options) -> list[Window]:
    """The windows of a layout. LauncherError when anything was lost, doubled, refused or died."""
    if layout == CEILING:
        asked = replace(asked, codec="msgpack")
    environment, pairs = prepare(layout, asked)
    with web_workers(environment, asked.workers, ceiling.COMMAND if layout == CEILING else COMMAND) as installation:
        processes = layouts.server_processes(environment, layout) | {APPLICATION: installation.pids}
        return _windows(load_of(asked, installation, pairs, processes))


def prepare(layout: str, asked: Options) -> tuple[dict[str, str], list[Pair]]:
    """The environment of an installation with this layout, and who talks in it."""
    say(f"\n  {layout}: {asked.pairs} pairs, {asked.in_flight} in flight each, {asked.size} bytes, {asked.codec}")
    environment = layouts.environment_of(layout, os.environ)
    if layout == CEILING:
        return environment, ceiling.pairs(asked.pairs)
    migrate(environment)
    return environment, make_pairs(environment, asked.pairs)


def make_pairs(environment: Mapping[str, str], count: int) -> list[Pair]:
    """New users, devices and conversations in the installation's databases."""
    with Progress(f"Making {2 * count} users"):
        made = subprocess.run(
            [str(PYTHON), "-m", "benchmarks.people", str(count)],
            cwd=CHECKOUT,
            env=dict(environment),
            capture_output=True,
            check=False,
        )
    if made.returncode:
        refuse(f"The users could not be made: {made.stderr.decode(errors='replace').strip()[-500:]}")
    return msgspec.json.decode(made.stdout, type=list[Pair])


def load_of(asked: Options, installation: Installation, pairs: list[Pair], processes: dict[str, list[int]]) -> Load:
    """What the load generator is to do to this installation."""
    return Load(
        host=installation.host,
        port=installation.port,
        subprotocol=asked.subprotocol,
        pairs=pairs,
        in_flight=asked.in_flight,
        size=asked.size,
        warm_up=asked.warm_up,
        seconds=asked.seconds,
        windows=asked.windows,
        processes=processes,
    )


def _windows(load: Load) -> list[Window]:
    windows: list[Window] = []
    for event in under_load(load):
        if isinstance(event, Measured):
            windows.append(event.window)
        say(f"    {describe(event, len(windows), load)}")
    return windows


def describe(event: Event, number: int, load: Load) -> str:
    """A line of progress."""
    match event:
        case Connected():
            return f"{event.sockets} sockets are open; warming up for {load.warm_up:g} s"
        case Warm():
            return f"warm after {event.messages:,} messages; {load.windows} windows of {load.seconds:g} s"
        case Measured(window=window):
            latency = f"sent {window.sent_p50:.1f} / {window.sent_p99:.1f} ms, envelope {window.envelope_p50:.1f} / {window.envelope_p99:.1f} ms"
            return f"window {number} of {load.windows}: {window.rate:,.0f} msg/s, {latency}"
        case Finished():
            early = f", {event.early:,} of them before one that was due" if event.early else ""
            slowest = f"the slowest after {event.slowest_ms / 1000:.1f} s"
            return (
                f"{event.messages:,} messages arrived once and in order{early}, {slowest}; {event.receipts:,} receipts"
            )
        case _:
            return ""
