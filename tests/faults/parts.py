"""The parts of a call, one after the other: what was said, what was measured, what was broken."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatproject.launcher.console import say
from tests.faults import runs, sleepers, storm
from tests.faults.broken import NAMES
from tests.faults.checker import Report, check
from tests.faults.failpoints import matrix
from tests.faults.figures import Figures, figures
from tests.faults.installation import CASSANDRA, CASSANDRA3, POSTGRESQL
from tests.faults.options import BUILDS, MATRIX, MODEL, NEMESIS, SIMULATION, SLEEPERS, SMOKE, Options
from tests.faults.programs import MODEL as MODEL_PROGRAM
from tests.faults.programs import SIMULATION as SIMULATION_PROGRAM
from tests.faults.programs import Programs
from tests.faults.runs import Run
from tests.faults.stage import RUNS, Order

EXAMPLES = 10
# A crowd that a machine with two cores serves while it is attacked.
CROWD: dict[str, Any] = {
    "users": 20,
    "guests": 4,
    "conversations": 16,
    "largest": 8,
    "rate": 25.0,
    "devices_every": 10.0,
    "membership_every": 5.0,
    # Somebody who installs the app again may get what was sent to it a moment before, whatever its place: not to be told from disorder.
    "reinstall_every": 0.0,
}
# The nodes of a cluster share the two cores with everything else: with two devices each and groups of five every message is seven deliveries, seven
# acks and eleven receipts, and the machine is busy with 30 of them a second. It is messages that are counted, so here most people have one device:
# with 45 a second nineteen twentieths of both cores are taken while all is well, and what an outage leaves is worked off from what remains. With 33
# that took more than a minute on a slow day, on which a node needed a minute to start.
LARGE_CROWD = CROWD | {
    "users": 30,
    "devices": 1,
    "guests": 6,
    "conversations": 40,
    "largest": 3,
    "rate": 26.0,
}
WARM_UP, LONG_WARM_UP = 20.0, 90.0
# After a minute without faults the watermark may be held back by nothing old.
CALM, LONG_CALM = 8.0, 61.0
SMOKE_KINDS = (
    "worker killed",
    "worker stopped",
    "Valkey emptied",
    "Valkey killed",
    "PostgreSQL restarted",
    "connections cut",
)
TOGETHER = 0.25
# The longest outage there is (`runs`).
REHEARSALS = {
    POSTGRESQL: "PostgreSQL away",
    CASSANDRA: "Cassandra away",
    CASSANDRA3: "two Cassandra nodes away",
}
# Longer than any claim or lease lasts; and as long as a machine may sleep.
SHORT_SLEEP, LONG_SLEEP = 20.0, 120.0
# Of each row of the model: within so many every rule is missed that is taken away.
MODEL_SCHEDULES = "200"
# Most are caught within a few dozen.
BUILD_SEEDS = 400


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
    """Every part that is asked for. What needs no servers goes on beside the parts that wait for theirs, and has ended before the nemesis begins."""
    played = Played()
    with Programs() as programs:
        alone = list(_alone(asked, programs))
        stories = {name: _stories(name, programs) for name in _builds_of(asked)} if not asked.servers else {}
        if MATRIX in asked.parts:
            judged(played, matrix_order(asked), matrix.playing(matrix.cases(asked.cases)))
        if SLEEPERS in asked.parts:
            judged(played, sleepers_order(asked), sleepers.sleeping(LONG_SLEEP if asked.full else SHORT_SLEEP))
        played.broken += [sentence for kept, sentence in alone if not kept.result()]
        caught = {name: "the simulation" for name, found in stories.items() if found.result()}
    if NEMESIS in asked.parts:
        judged(played, nemesis_order(asked), runs.nemesis)
    if SMOKE in asked.parts:
        judged(played, smoke_order(asked), runs.each_once)
    if BUILDS in asked.parts:
        _builds(played, asked, caught)
    return played


def _alone(asked: Options, programs: Programs) -> Iterator[tuple[Future[bool], str]]:
    """The programs that are asked for, each with what it means if it fails."""

    def started(module: str, arguments: list[str], otherwise: str) -> tuple[Future[bool], str]:
        return programs.start(module, arguments), f"{otherwise}; again: python -m {module} {' '.join(arguments)}"

    if MODEL in asked.parts:
        yield started(MODEL_PROGRAM, [MODEL_SCHEDULES], "the model found a rule that is not needed, or not enough")
    if SIMULATION in asked.parts:
        broken = ["--break", asked.build] if asked.build else []
        wanted = "a story of the simulation broke a promise" if not asked.build else f"{asked.build} was not caught"
        yield started(SIMULATION_PROGRAM, ["--first", str(asked.seed), "--seeds", str(asked.seeds), *broken], wanted)


def _stories(build: str, programs: Programs) -> Future[bool]:
    return programs.start(SIMULATION_PROGRAM, ["--seeds", str(BUILD_SEEDS), "--break", build])


def _builds_of(asked: Options) -> Sequence[str]:
    if BUILDS not in asked.parts:
        return ()
    return [asked.build] if asked.build else NAMES


def _builds(played: Played, asked: Options, caught: dict[str, str]) -> None:
    """What no story of the simulation has shown, where one takes milliseconds, or all if so asked, on real servers."""
    for name in _builds_of(asked):
        if name not in caught and _is_caught_in_a_storm(name, asked):
            caught[name] = "a run"
        if name not in caught:
            played.broken.append(f"the broken build {name} was not caught")
    played.said.append(f"{len(caught)} of {len(_builds_of(asked))} broken builds were caught by name")
    played.said += [f"  {name:<24} by {where}" for name, where in caught.items()]


def _is_caught_in_a_storm(name: str, asked: Options) -> bool:
    say(f"\n  {name}")
    run = runs.run(storm_order(name, asked), storm.storm)
    report = check(run.histories)
    say(f"    {', '.join(sorted(verdict.value for verdict in report.verdicts)) or 'nothing was found'}")
    return storm.is_caught(name, report)


def storm_order(build: str, asked: Options) -> Order:
    """A run of a broken build. What it kills stays dead for nobody to finish only if no whole finisher runs beside it."""
    return Order(
        name=f"broken-{build}",
        layout=asked.layout,
        seed=asked.seed,
        seconds=storm.SECONDS,
        finishers=0,
        kinds=storm.KINDS,
        people=CROWD | {"devices_every": 2.0, "membership_every": 1.0},
        build=build,
    )


def matrix_order(asked: Options) -> Order:
    """The run of the failpoints."""
    people = CROWD | {"guests": 1}
    return Order(name=MATRIX, layout=asked.layout, seed=asked.seed, people=people, build=asked.build, everything=False)


def sleepers_order(asked: Options) -> Order:
    """The run of the workers that wake up late: two finishers do what they left."""
    return Order(
        name=SLEEPERS,
        layout=asked.layout,
        seed=asked.seed,
        workers=sleepers.WORKERS,
        finishers=2,
        people=CROWD,
        build=asked.build,
        everything=False,
    )


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
        rehearsal=REHEARSALS[asked.layout],
        together=TOGETHER if asked.full else 0.0,
        warm_up=LONG_WARM_UP if asked.full else WARM_UP,
        calm=LONG_CALM if asked.full else CALM,
        people=(LARGE_CROWD if asked.full else CROWD) | ({"rate": asked.rate} if asked.rate else {}),
        build=asked.build,
    )


def smoke_order(asked: Options) -> Order:
    """A minute."""
    return Order(
        name=SMOKE,
        layout=asked.layout,
        seed=asked.seed,
        kinds=SMOKE_KINDS,
        longest=2.0,
        warm_up=2.0,
        calm=2.0,
        people=CROWD | {"users": 8, "guests": 1, "conversations": 6, "rate": 10.0, "connected": (5.0, 20.0)},
        everything=False,
    )


def judged(played: Played, order: Order, attack: runs.Attack) -> Report:
    """Play a run and judge it."""
    say(f"\n  {order.name} on {order.layout}, seed {order.seed}{f', broken: {order.build}' if order.build else ''}")
    run = runs.run(order, attack)
    report = check(run.histories)
    played.runs.append(run)
    played.figures.append(figures(run, report))
    broken = [*_violations(report), *_excused(report), *run.broken, *_slow(run)]
    if broken:
        kept = _kept(run.folder)
        played.broken += [f"{order.name}: {sentence}" for sentence in broken]
        played.broken.append(f"{order.name}: history and logs are kept in {kept}; again: {_again(order)}")
    return report


def _violations(report: Report) -> list[str]:
    counts = [f"{count} {verdict.value}" for verdict, count in sorted(report.counts.items())]
    examples = [f"{violation.verdict.value}: {violation.what}" for violation in report.violations[:EXAMPLES]]
    return ([", ".join(counts)] if counts else []) + examples


def _excused(report: Report) -> list[str]:
    """No mailbox is full in a run, no row is damaged, and nobody leaves an envelope unacknowledged for five sockets."""
    excused = report.figures.excused
    return [f"{excused} seqs were said to be gaps, and nothing makes any here"] if excused else []


def _slow(run: Run) -> list[str]:
    """P10: a minute after a fault all is well."""
    return [f"not well within a minute: {each}" for each in run.done if each.recovery is None]


def _kept(folder: Path) -> Path:
    kept = folder.with_name(f"failed-{time.strftime('%Y%m%dT%H%M%S')}-{folder.name}")
    return folder.rename(kept).relative_to(RUNS.parents[1])


def _again(order: Order) -> str:
    minutes = f" --minutes {order.seconds / 60:g} --rate {order.people['rate']:g}" if order.name == NEMESIS else ""
    build = f" --build {order.build}" if order.build else ""
    kinds = "".join(f' --fault "{kind}"' for kind in order.kinds)
    return f"python3 -m chatproject.launcher faults {order.name} --seed {order.seed} --layout {order.layout}{minutes}{kinds}{build}"
