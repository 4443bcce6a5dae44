"""What is asked for on the command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.faults.broken import NAMES
from tests.faults.installation import CASSANDRA, CASSANDRA3, LAYOUTS

MODEL, SIMULATION, MATRIX = "model", "simulation", "matrix"
SLEEPERS, NEMESIS, BUILDS = "sleepers", "nemesis", "builds"
PARTS = (MODEL, SIMULATION, MATRIX, SLEEPERS, NEMESIS, BUILDS)
# A minute for the test suite. Its figures are not kept.
SMOKE = "smoke"
SHORT_MINUTES, FULL_MINUTES = 1.5, 30.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """One call. `minutes` is how long the nemesis attacks; `faults` and `cases` narrow down what is done, `build` what is broken."""

    parts: tuple[str, ...]
    full: bool
    layout: str
    seed: int
    minutes: float
    seeds: int
    faults: tuple[str, ...]
    cases: tuple[str, ...]
    build: str
    rate: float | None
    servers: bool = False


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line; SystemExit with the usage for anything else."""
    parser = argparse.ArgumentParser(
        prog="make faults ARGS=…", description="The message guarantee, attacked: what is lost, doubled, late or leaked."
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)} (default: all of them); {SMOKE}")
    add("--full", action="store_true", help="three Cassandra nodes, half an hour of faults, also two at a time")
    add("--layout", choices=LAYOUTS, help="where messages are kept (default: cassandra, with --full cassandra3)")
    add("--seed", type=int, default=1, help="the seed of load and faults (default 1)")
    add(
        "--minutes",
        type=float,
        help=f"how long the nemesis attacks (default {SHORT_MINUTES:g}, with --full {FULL_MINUTES:g})",
    )
    add("--seeds", type=int, default=2000, help="stories of the simulation (default 2000)")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="KIND",
        help="only this kind of fault, by its name in the table; may be repeated",
    )
    add(
        "--case",
        action="append",
        default=[],
        metavar="POINT/ACTION",
        help="only this case of the matrix, or this point or action",
    )
    add("--build", choices=NAMES, default="", metavar="NAME", help=f"break this rule: {', '.join(NAMES)}")
    add("--rate", type=float, help="messages a second while the nemesis attacks (default: what two cores serve)")
    add(
        "--servers",
        action="store_true",
        help="look for what a broken build does on real servers only, not in the simulation",
    )
    asked = parser.parse_args(arguments)
    unknown = set(asked.parts) - {*PARTS, SMOKE}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return Options(
        parts=tuple(asked.parts) or PARTS,
        full=asked.full,
        layout=asked.layout or (CASSANDRA3 if asked.full else CASSANDRA),
        seed=asked.seed,
        minutes=asked.minutes or (FULL_MINUTES if asked.full else SHORT_MINUTES),
        seeds=asked.seeds,
        faults=tuple(asked.fault),
        cases=tuple(asked.case),
        build=asked.build,
        rate=asked.rate,
        servers=asked.servers,
    )


def on(asked: Options, layout: str) -> Options:
    """The same, elsewhere."""
    return replace(asked, layout=layout)
