"""A run from its beginning to its end: people talk, things are done to the servers, all of it heals, everybody looks whether everything is there."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatproject.environment import cassandra
from chatproject.launcher.console import say
from tests.faults import dumping, resources, secrets_search, store_search
from tests.faults.history import Measured, StoreSearched
from tests.faults.nemesis.attack import Done, Nemesis
from tests.faults.stage import Order, Stage, staged

SETTLE_SECONDS = 240.0
KEPT = ("load.jsonl", "harness.jsonl", "markers", "logs")
Attack = Callable[[Stage], list[Done]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is over. Times are CLOCK_MONOTONIC; `attacked` is when the faults began and ended."""

    order: Order
    folder: Path
    done: list[Done]
    attacked: tuple[float, float]
    seconds: float
    cpu_seconds: float
    resources: dict[str, tuple[float, float]]
    quiet: dict[str, Any]
    backlog_seconds: float
    broken: list[str]
    statuses: list[dict[str, Any]] = field(repr=False)

    @property
    def histories(self) -> list[Path]:
        return [self.folder / "load.jsonl", self.folder / "harness.jsonl"]


def run(order: Order, attack: Attack) -> Run:
    """Play it to its end. Its folder holds the history and the logs afterwards."""
    with staged(order) as stage:
        done = _played(stage, attack)
    # The clocks and the stores' data are of no more use; what was said and written is.
    for left in stage.folder.iterdir():
        if left.name not in KEPT and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    return done


def _played(stage: Stage, attack: Attack) -> Run:
    installation, load = stage.installation, stage.load
    cpu, began = resources.cpu_seconds(installation), time.monotonic()
    load.tell("begin")
    time.sleep(stage.order.warm_up)
    attacked = time.monotonic()
    rehearsed = _rehearsed(stage)
    before = resources.measure(installation, stage.writer, "before")
    done = [*rehearsed, *attack(stage)]
    healed = time.monotonic()
    stage.proxies.clear()
    time.sleep(stage.order.calm)
    after = resources.measure(installation, stage.writer, "after")
    lag = dumping.watermark_lag(installation.direct["POSTGRES_URL"])
    stage.writer.write(Measured(process="postgresql", what="watermark_lag", value=lag, phase="after"))
    seconds, cpu = time.monotonic() - began, resources.cpu_seconds(installation) - cpu
    quiet = _settled(stage)
    backlog = dumping.await_empty_outbox(installation.direct["POSTGRES_URL"])
    stage.writer.write(_still_held(stage))
    dumping.dump(installation.direct["POSTGRES_URL"], stage.writer, [*stage.prober.people, *stage.strangers])
    load.tell("markers")
    secrets_search.search(stage.folder / "markers", stage.folder / "logs", stage.writer)
    load.quit()
    return Run(
        order=stage.order,
        folder=stage.folder,
        done=done,
        attacked=(attacked, healed),
        seconds=seconds,
        cpu_seconds=cpu,
        resources={name: (before[name], after[name]) for name in before},
        quiet=quiet,
        backlog_seconds=backlog,
        broken=stage.broken,
        statuses=load.statuses,
    )


def _still_held(stage: Stage) -> StoreSearched:
    """What the message store still has of acknowledged messages."""
    direct = stage.installation.direct
    if "SCYLLADB_URL" in stage.installation.environment:
        return store_search.in_cassandra(cassandra(stage.installation.environment["SCYLLADB_URL"]))
    return store_search.in_sql(direct["MESSAGES_URL"])


def _settled(stage: Stage) -> dict[str, Any]:
    quiet = stage.load.tell("settle", within=SETTLE_SECONDS + 30, seconds=SETTLE_SECONDS)
    say(f"    refused or not answered: {quiet['errors']}")
    if not quiet["ok"]:
        say(f"    not quiet: {quiet}")
    return quiet


def nemesis(stage: Stage) -> list[Done]:
    """What the order asks for, one after the other or by twos, until its time is over."""
    attacker = _attacker(stage, stage.order.kinds)
    attacker.attack(stage.order.seconds, together=stage.order.together)
    return attacker.done


def each_once(stage: Stage) -> list[Done]:
    """Every kind that the order names once, in that order, each at the first target there is."""
    attacker = _attacker(stage, stage.order.kinds)
    for kind in stage.order.kinds:
        attacker.inflict([next(fault for fault in stage.faults if fault.kind == kind)])
    return attacker.done


def _rehearsed(stage: Stage) -> list[Done]:
    """The order's rehearsal; of a kind that this installation cannot have it is an error."""
    if not stage.order.rehearsal:
        return []
    attacker = _attacker(stage, (stage.order.rehearsal,), series="rehearsal ")
    attacker.inflict([next(fault for fault in stage.faults if fault.kind == stage.order.rehearsal)])
    return attacker.done


def _attacker(stage: Stage, kinds: tuple[str, ...], *, series: str = "") -> Nemesis:
    """Of these kinds; of all where none is named."""
    return Nemesis(
        seed=stage.order.seed,
        faults=[fault for fault in stage.faults if not kinds or fault.kind in kinds],
        series=series,
        writer=stage.writer,
        observer=stage.observer,
        prober=stage.prober,
        longest=stage.order.longest,
        tell=lambda line: say(f"    {line}"),
    )
