"""Every failpoint with every action, one after the other, while people talk: a worker dies, stands still, is late or sees a time-out exactly there."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
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

    def play(self, chosen: Sequence[Case]) -> list[Done]:
        """All of these. The faults that happened."""
        for case in chosen:
            outcome = next((found for found in self._tries(case) if found.hit), Outcome(case=case, hit=False))
            self.outcomes.append(outcome)
            say(f"    {outcome}")
        return [outcome.done for outcome in self.outcomes if outcome.done is not None]

    def _tries(self, case: Case) -> Iterator[Outcome]:
        for number in range(TRIES):
            yield self._play(case, f"{case.point}-{case.action}-{number}")

    def _play(self, case: Case, token: str) -> Outcome:
        stage, folder = self._stage, self._stage.control
        stage.prober.keep_signed_in()
        starts = {worker.name: worker.starts for worker in stage.installation.workers}
        errand = threading.Thread(target=self._provoke, args=[case.point, token], daemon=True)
        control.arm(folder, Arming(token, case.point, case.action, self._random.randint(1, 3), DELAY_SECONDS))
        errand.start()
        hit = self._await_hit(token)
        control.disarm(folder)
        if hit is None:
            errand.join(HIT_SECONDS)
            return Outcome(case=case, hit=False)
        off = self._end(hit, starts)
        recovery = stage.prober.recovery(off, MOST_SECONDS)
        errand.join(BACK_SECONDS)
        time.sleep(HISTORY_LAG_SECONDS)
        return self._note(case, hit, off, recovery)

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

    def _end(self, hit: Hit, starts: dict[str, int]) -> float:
        """When what was done is over: the stopped goes on, the killed is back, the late has gone on by itself."""
        if hit.action == "stop":
            time.sleep(STOPPED_SECONDS)
            with suppress(ProcessLookupError):
                os.kill(hit.pid, signal.SIGCONT)
        elif hit.action == "delay":
            time.sleep(DELAY_SECONDS)
        elif hit.action == "kill":
            self._stage.installation.child(hit.process).await_start(starts[hit.process] + 1, BACK_SECONDS)
        return time.monotonic()

    def _note(self, case: Case, hit: Hit, off: float, recovery: float | None) -> Outcome:
        in_flight = self._stage.observer.in_flight(hit.at, off)
        name, kind = f"point {len(self.outcomes) + 1}", f"failpoint {case}"
        writer = self._stage.writer
        freezes = case.action in ("stop", "delay")
        writer.write(
            FaultOn(at=hit.at, fault=name, kind=kind, target=hit.process, in_flight=in_flight, freezes=freezes)
        )
        writer.write(FailpointHit(at=hit.at, name=case.point, action=case.action, process=hit.process))
        writer.write(FaultOff(at=off, fault=name))
        writer.flush()
        done = Done(kind=kind, target=hit.process, on=hit.at, off=off, in_flight=in_flight, recovery=recovery)
        return Outcome(case=case, hit=in_flight > 0, done=done)


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
