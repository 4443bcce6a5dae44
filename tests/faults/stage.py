"""Everything a run needs, standing: an installation behind proxies, people who talk in it, somebody who says when it is well, and a history."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import commit
from chatproject.launcher.console import say
from chatproject.launcher.state import CHECKOUT, STATE
from tests.faults import leftovers
from tests.faults.history import Began, Writer
from tests.faults.installation import CASSANDRA, Installation, running
from tests.faults.installation import Plan as InstallationPlan
from tests.faults.installation.disks import can_mount
from tests.faults.load.plan import Plan as LoadPlan
from tests.faults.loading import Load, load
from tests.faults.nemesis import routes
from tests.faults.nemesis.clocks import WrongClock, library
from tests.faults.nemesis.faults import Fault, catalogue
from tests.faults.nemesis.observer import Observer
from tests.faults.nemesis.prober import Prober, probing
from tests.faults.nemesis.proxy import Proxies, proxies
from tests.faults.warden import MARK

RUNS = STATE / "faults"
DISK_MEGABYTES = 1500


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a run is to be. `kinds`: only these faults; `build`: the rule that is broken; `together`: the share of faults that come by twos.

    Seconds: a fault lasts at most `longest`; before the faults people talk for `warm_up`, so that what a process holds is not that of one that has
    just been started; after them nothing happens for `calm`. A fault of the kind `rehearsal` comes before anything is measured: what a process has
    needed once its allocator keeps, and only what further outages add is a leak.
    """

    name: str = "nemesis"
    layout: str = CASSANDRA
    seed: int = 1
    seconds: float = 240.0
    workers: int = 2
    finishers: int = 1
    kinds: tuple[str, ...] = ()
    rehearsal: str = ""
    together: float = 0.0
    longest: float = 60.0
    warm_up: float = 8.0
    calm: float = 8.0
    build: str = ""
    # Fields of the load's plan.
    people: Mapping[str, Any] = field(default_factory=dict)
    # Also the disks that can be filled and the clocks that can be wrong, where they can be had.
    everything: bool = True


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run before its first fault: everybody is signed in and connected, nobody talks yet."""

    order: Order
    folder: Path
    installation: Installation
    proxies: Proxies
    load: Load
    prober: Prober
    observer: Observer
    writer: Writer
    # Everything that can be done here, whatever the order names.
    faults: list[Fault]
    # User ids of people who are not of the load: its history knows nothing of them.
    strangers: list[str] = field(default_factory=list)
    # Promises that were not kept, in words, found by somebody else than the checker of the history.
    broken: list[str] = field(default_factory=list)

    @property
    def histories(self) -> list[Path]:
        return [self.folder / "load.jsonl", self.folder / "harness.jsonl"]

    @property
    def control(self) -> Path:
        """Where failpoints are armed."""
        return self.installation.plan.directory / "control"


@contextmanager
def staged(order: Order, *, extra: Callable[[LoadPlan], LoadPlan] = lambda plan: plan) -> Iterator[Stage]:
    """A stage; all that runs on it ends with it. Its folder, with history and logs, stays."""
    folder = RUNS / order.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        made = stack.enter_context(proxies(order.seed))
        clock = _clock(order, folder)
        plan = _installation(order, folder, clock)
        installation = stack.enter_context(running(plan, reroute=partial(routes.through, made), proxied=True))
        made.link(routes.WEB, (installation.host, installation.port))
        stack.enter_context(leftovers.noted(installation.direct["POSTGRES_URL"], folder / "logs" / "leftovers.jsonl"))
        writer = stack.enter_context(Writer(folder / "harness.jsonl"))
        writer.write(_began(order))
        prober = stack.enter_context(probing(installation.host, installation.port, installation.sms))
        loading = stack.enter_context(
            load(
                extra(_people(order, folder, installation, made)),
                folder / "logs" / "load.log",
                _of_clients(order, folder),
            )
        )
        yield Stage(
            order=order,
            folder=folder,
            installation=installation,
            proxies=made,
            load=loading,
            prober=prober,
            observer=Observer(folder / "load.jsonl"),
            writer=writer,
            faults=catalogue(installation, made, clock),
        )


def _installation(order: Order, folder: Path, clock: WrongClock | None) -> InstallationPlan:
    faketime = library()
    shifted = {f"web-{order.workers}": clock.environment(faketime)} if clock and faketime else {}
    return InstallationPlan(
        directory=folder,
        layout=order.layout,
        workers=order.workers,
        finishers=order.finishers,
        environment={"BREAK": order.build} if order.build else {},
        special=shifted,
        disk_megabytes=DISK_MEGABYTES if order.everything and can_mount() else 0,
    )


def _clock(order: Order, folder: Path) -> WrongClock | None:
    if not order.everything:
        return None
    if library() is None:
        say("  !!! libfaketime is not here: no clock is shifted.")
        return None
    if not can_mount():
        say("  !!! Only root can mount a disk to fill: no disk is filled.")
    return WrongClock(folder / "clock")


def _people(order: Order, folder: Path, installation: Installation, made: Proxies) -> LoadPlan:
    web = made.links[routes.WEB]
    return LoadPlan(
        urls=(f"http://{installation.host}:{installation.port}", f"http://{web.host}:{web.port}"),
        sms=str(installation.sms),
        history=str(folder / "load.jsonl"),
        markers=str(folder / "markers"),
        seed=order.seed,
        **order.people,
    )


def _of_clients(order: Order, folder: Path) -> dict[str, str]:
    """The load keeps the reference client's rules by its code. One of the broken builds is the client's."""
    code = str(CHECKOUT / "clients" / "python" / "src")
    return {**os.environ, "BREAK": order.build, "PYTHONPATH": code, MARK: str(folder)}


def _began(order: Order) -> Began:
    return Began(seed=order.seed, commit=commit(), profile=order.name, build=order.build, store=order.layout)
