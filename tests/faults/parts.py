"""The parts of a call, one after the other: what was said, what was measured, what was broken."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from chatproject.launcher.console import say
from tests.faults import runs
from tests.faults.checker import Report, check
from tests.faults.failpoints import matrix
from tests.faults.figures import Figures, figures
from tests.faults.options import MATRIX, NEMESIS, Options
from tests.faults.runs import Run
from tests.faults.stage import RUNS, Order

EXAMPLES = 10
# A crowd that a machine with two cores serves while it is attacked.
CROWD = {
    "users": 20,
    "guests": 4,
    "conversations": 16,
    "largest": 8,
    "rate": 25.0,
    "devices_every": 10.0,
    "membership_every": 5.0,
}
LARGE_CROWD = CROWD | {"users": 40, "guests": 10, "conversations": 40, "largest": 10, "rate": 45.0}
TOGETHER = 0.25


@dataclass
class Played:
    """What came of it."""

    runs: list[Run] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken


def play(asked: Options) -> Played:
    """Every part that is asked for."""
    played = Played()
    if MATRIX in asked.parts:
        judged(played, matrix_order(asked), matrix.playing(matrix.cases(asked.cases)))
    if NEMESIS in asked.parts:
        judged(played, nemesis_order(asked), runs.nemesis)
    return played


def matrix_order(asked: Options) -> Order:
    """The run of the failpoints."""
    people = CROWD | {"guests": 1}
    return Order(name=MATRIX, layout=asked.layout, seed=asked.seed, people=people, build=asked.build, everything=False)


def nemesis_order(asked: Options) -> Order:
    """The run of the nemesis."""
    return Order(
        name=NEMESIS,
        layout=asked.layout,
        seed=asked.seed,
        seconds=asked.minutes * 60,
        workers=3 if asked.full else 2,
        finishers=2 if asked.full else 1,
        kinds=asked.faults,
        together=TOGETHER if asked.full else 0.0,
        people=LARGE_CROWD if asked.full else CROWD,
        build=asked.build,
    )


def judged(played: Played, order: Order, attack: runs.Attack) -> Report:
    """Play a run and judge it."""
    say(f"\n  {order.name} on {order.layout}, seed {order.seed}{f', broken: {order.build}' if order.build else ''}")
    run = runs.run(order, attack)
    report = check(run.histories)
    played.runs.append(run)
    played.figures.append(figures(run, report))
    broken = [*_violations(report), *run.broken, *_slow(run)]
    if broken:
        kept = _kept(run.folder)
        played.broken += [f"{order.name}: {sentence}" for sentence in broken]
        played.broken.append(f"{order.name}: history and logs are kept in {kept}; again: {_again(order)}")
    return report


def _violations(report: Report) -> list[str]:
    counts = [f"{count} {verdict.value}" for verdict, count in sorted(report.counts.items())]
    examples = [f"{violation.verdict.value}: {violation.what}" for violation in report.violations[:EXAMPLES]]
    return ([", ".join(counts)] if counts else []) + examples


def _slow(run: Run) -> list[str]:
    """P10: a minute after a fault all is well."""
    return [f"not well within a minute: {each}" for each in run.done if each.recovery is None]


def _kept(folder: Path) -> Path:
    kept = folder.with_name(f"failed-{time.strftime('%Y%m%dT%H%M%S')}-{folder.name}")
    return folder.rename(kept).relative_to(RUNS.parents[1])


def _again(order: Order) -> str:
    minutes = f" --minutes {order.seconds / 60:g}" if order.name == NEMESIS else ""
    build = f" --build {order.build}" if order.build else ""
    kinds = "".join(f' --fault "{kind}"' for kind in order.kinds)
    return f"python3 -m chatproject.launcher faults {order.name} --seed {order.seed} --layout {order.layout}{minutes}{kinds}{build}"
