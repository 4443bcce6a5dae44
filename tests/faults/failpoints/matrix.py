"""Every failpoint with every action, one after the other, while people talk: a worker dies, stands still, is late or sees a time-out exactly there."""

import os
import signal
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import get_args

from chatproject.launcher.console import say
from tests.faults.failpoints import control
from tests.faults.failpoints.control import Action, Arming, Hit
from tests.faults.failpoints.errands import Errands
from tests.faults.failpoints.points import POINTS
from tests.faults.history import FailpointHit, FaultOff, FaultOn
from tests.faults.installation import Installation
from tests.faults.nemesis.attack import HISTORY_LAG_SECONDS, MOST_SECONDS, Done
from tests.faults.nemesis.prober import Visited
from tests.faults.runs import Attack
from tests.faults.stage import Stage

HIT_SECONDS = 30.0
TRIES = 3
# Longer than what PostgreSQL allows a transaction to stand still, and than a claim in the outbox lasts.
STOPPED_SECONDS = 6.5
DELAY_SECONDS = 2.5
BACK_SECONDS = 60.0
POLL_SECONDS = 0.02
# What is over before a stopped worker goes on.
BESIDE: tuple[Action, ...] = ("raise", "delay")


@dataclass(frozen=True)
class Case:
    """One point, one action."""

    point: str
    action: Action

    def __str__(self) -> str:
        return f"{self.point}/{self.action}"


def cases(only: Sequence[str] = ()) -> list[Case]:
    """All of them, or those whose point, action or "point/action" is named."""
    every = [Case(point, action) for point in POINTS for action in get_args(Action)]
    return [case for case in every if not only or {str(case), case.point, case.action} & set(only)]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case. `hit` is False when no worker came by there with messages in flight."""

    case: Case
    hit: bool
    done: Done | None = None

    def __str__(self) -> str:
        return f"{self.case}: {self.done}" if self.done else f"{self.case}: NOT HIT"


class Matrix:
    """Plays cases on a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._random = Random(stage.order.seed)  # noqa: S311  (a schedule that can be repeated)
        installation = stage.installation
        self.errands = Errands(Visited(installation.host, installation.port, installation.sms))
        self.outcomes: list[Outcome] = []
        self._noted = 0

    def play(self, chosen: Sequence[Case]) -> list[Done]:
        """All of these. The faults that happened."""
        for cases in together(chosen, alone=self.errands.points):
            for outcome in self._play(cases, 0):
                self.outcomes.append(outcome if outcome.hit else self._again(outcome.case))
                say(f"    {self.outcomes[-1]}")
        return [outcome.done for outcome in self.outcomes if outcome.done is not None]

    def _again(self, case: Case) -> Outcome:
        outcome = Outcome(case=case, hit=False)
        for number in range(1, TRIES):
            [outcome] = self._play([case], number)
            if outcome.hit:
                break
        return outcome

    def _play(self, cases: Sequence[Case], number: int) -> list[Outcome]:
        """These, each begun while the one before may last, and all that comes of it."""
        stage = self._stage
        stage.prober.keep_signed_in()
        acts = [self._begin(case, f"{case.point}-{case.action}-{number}") for case in cases]
        offs = [act.end() for act in acts]
        recovery = stage.prober.recovery(max(offs), MOST_SECONDS) if any(act.hit for act in acts) else None
        for act in acts:
            act.errand.join(BACK_SECONDS if act.hit else HIT_SECONDS)
        time.sleep(HISTORY_LAG_SECONDS)
        outcomes = [self._outcome(act, off, recovery) for act, off in zip(acts, offs, strict=True)]
        self._write(outcomes)
        return outcomes

    def _begin(self, case: Case, token: str) -> "_Act":
        folder = self._stage.control
        starts = {worker.name: worker.starts for worker in self._stage.installation.workers}
        errand = threading.Thread(target=self._provoke, args=[case.point, token], daemon=True)
        control.arm(folder, Arming(token, case.point, case.action, self._random.randint(1, 3), DELAY_SECONDS))
        errand.start()
        hit = self._await_hit(token)
        control.disarm(folder)
        return _Act(case, errand, hit, self._stage.installation, starts)

    def _provoke(self, point: str, token: str) -> None:
        deadline = time.monotonic() + HIT_SECONDS
        while time.monotonic() < deadline and control.hit(self._stage.control, token) is None:
            self.errands.run(point)
            time.sleep(POLL_SECONDS)

    def _await_hit(self, token: str) -> Hit | None:
        deadline = time.monotonic() + HIT_SECONDS
        while time.monotonic() < deadline:
            hit = control.hit(self._stage.control, token)
            if hit is not None:
                return hit
            time.sleep(POLL_SECONDS)
        return None

    def _outcome(self, act: "_Act", off: float, recovery: float | None) -> Outcome:
        if act.hit is None:
            return Outcome(case=act.case, hit=False)
        done = Done(
            kind=f"failpoint {act.case}",
            target=act.hit.process,
            on=act.hit.at,
            off=off,
            in_flight=self._stage.observer.in_flight(act.hit.at, off),
            recovery=recovery,
        )
        return Outcome(case=act.case, hit=done.in_flight > 0, done=done)

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        """What was done, in the order of time."""
        events: list[FaultOn | FailpointHit | FaultOff] = []
        for case, done in ((outcome.case, outcome.done) for outcome in outcomes):
            if done is None:
                continue
            self._noted += 1
            name = f"point {self._noted}"
            events += [
                FaultOn(
                    at=done.on,
                    fault=name,
                    kind=done.kind,
                    target=done.target,
                    in_flight=done.in_flight,
                    freezes=case.action in ("stop", "delay"),
                ),
                FailpointHit(at=done.on, name=case.point, action=case.action, process=done.target),
                FaultOff(at=done.off, fault=name),
            ]
        for event in sorted(events, key=lambda event: event.at):
            self._stage.writer.write(event)
        self._stage.writer.flush()


class _Act:
    """A case under way. Whoever was stopped goes on when its time is over, whatever else is waited for."""

    def __init__(
        self, case: Case, errand: threading.Thread, hit: Hit | None, installation: Installation, starts: dict[str, int]
    ) -> None:
        self.case, self.errand, self.hit = case, errand, hit
        self._installation, self._starts = installation, starts
        self._off = time.monotonic()
        self._timer = threading.Timer(STOPPED_SECONDS, self._go_on)
        self._timer.daemon = True
        if hit is not None and hit.action == "stop":
            self._timer.start()

    def _go_on(self) -> None:
        if self.hit is not None:
            with suppress(ProcessLookupError):
                os.kill(self.hit.pid, signal.SIGCONT)
        self._off = time.monotonic()

    def end(self) -> float:
        """When what was done is over: the stopped goes on, the killed is back, the late has gone on by itself."""
        if self.hit is None:
            return self._off
        if self.hit.action == "stop":
            self._timer.join()
        elif self.hit.action == "delay":
            self._off += DELAY_SECONDS
            time.sleep(max(0.0, self._off - time.monotonic()))
        elif self.hit.action == "kill":
            self._installation.child(self.hit.process).await_start(self._starts[self.hit.process] + 1, BACK_SECONDS)
            self._off = time.monotonic()
        return self._off


def together(chosen: Sequence[Case], *, alone: Collection[str]) -> Iterator[list[Case]]:
    """Cases in groups: what happens to one worker while another one stands still. Not where people's errands lead to the point: those take turns."""
    group: list[Case] = []
    for case in chosen:
        fits = group and group[0].action == "stop" and case.action in BESIDE and case.point == group[0].point
        if not fits or case.point in alone:
            if group:
                yield group
            group = []
        group.append(case)
    if group:
        yield group


def playing(chosen: Sequence[Case]) -> Attack:
    """The attack of a run that consists of these cases. A case that was not hit is a promise that was not kept."""

    def attack(stage: Stage) -> list[Done]:
        matrix = Matrix(stage)
        done = matrix.play(chosen)
        stage.strangers.extend(matrix.errands.people)
        stage.broken.extend(matrix.errands.broken)
        stage.broken.extend(f"{outcome.case} was not hit" for outcome in matrix.outcomes if not outcome.hit)
        return done

    return attack
