"""What a run is asked to do."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.pairs import JSON, MSGPACK

POSTGRESQL = "postgresql"
CASSANDRA = "cassandra"
CEILING = "ceiling"
PROFILES = ("cpu", "calls")
LAYOUTS = (POSTGRESQL, CASSANDRA, CEILING)


@dataclass(frozen=True)
class Options:
    """One run. `layouts` that cannot be had here are left out, with a line that says so."""

    layouts: tuple[str, ...]
    pairs: int
    in_flight: int
    size: int
    codec: str
    workers: int
    warm_up: float
    seconds: float
    windows: int
    profile: str

    @property
    def subprotocol(self) -> str:
        return JSON if self.codec == "json" else MSGPACK


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line; SystemExit with the usage for anything else."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Load on a whole installation, and what it costs."
    )
    add = parser.add_argument
    add("layouts", nargs="*", metavar="layout", help=f"any of {', '.join(LAYOUTS)}; default: all that can be had here")
    add("--pairs", type=_positive, default=50, help="pairs of devices, one sends, one receives (default 50)")
    add("--in-flight", type=_positive, default=8, help="sends a device has under way at once (default 8)")
    add("--size", type=_positive, default=256, help="bytes of a ciphertext (default 256)")
    add("--codec", choices=("msgpack", "json"), default="msgpack")
    add(
        "--workers",
        type=_positive,
        default=int(os.environ.get("WEB_WORKERS") or 2),
        help="web workers (default WEB_WORKERS or 2)",
    )
    add("--warm-up", type=float, default=10.0, metavar="SECONDS", help="before the first window (default 10)")
    add("--seconds", type=float, default=10.0, help="length of a window (default 10)")
    add("--windows", type=_positive, default=3, help="windows, of which the medians are reported (default 3)")
    add(
        "--profile",
        nargs="?",
        choices=PROFILES,
        const="cpu",
        default="",
        help="profile one web worker instead (default cpu)",
    )
    given = parser.parse_args(arguments)
    unknown = set(given.layouts) - set(LAYOUTS)
    if unknown:
        parser.error(f"there is no layout {', '.join(sorted(unknown))}")
    layouts = tuple(given.layouts) or ((POSTGRESQL,) if given.profile else LAYOUTS)
    return Options(**{**vars(given), "layouts": layouts})


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
