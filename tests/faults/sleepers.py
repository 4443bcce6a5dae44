"""Workers that stand still in the worst places and wake up when everything they were about to do has long been done by others."""

import os
import signal
import time
from contextlib import suppress

from chatproject.launcher.console import say
from chatproject.launcher.errors import refuse
from tests.faults.failpoints import control
from tests.faults.failpoints.control import Arming, Hit
from tests.faults.failpoints.matrix import HIT_SECONDS, POLL_SECONDS
from tests.faults.history import FailpointHit, FaultOff, FaultOn
from tests.faults.nemesis.attack import MOST_SECONDS, Done
from tests.faults.runs import Attack
from tests.faults.stage import Stage

# One worker each: with its transaction open; committed, and nobody knows; half of its deposit written.
POINTS = ("before_commit", "committed", "half_deposited")
WORKERS = len(POINTS) + 1


def sleeping(seconds: float) -> Attack:
    """The attack of a run in which all but one worker sleep for so long, while the last one and the finishers go on."""

    def attack(stage: Stage) -> list[Done]:
        hits = [_asleep(stage, point) for point in POINTS]
        say(f"    asleep for {seconds:.0f} s: {', '.join(f'{hit.process} at {hit.point}' for hit in hits)}")
        time.sleep(seconds)
        return _awake(stage, hits)

    return attack


def _asleep(stage: Stage, point: str) -> Hit:
    token = f"asleep-{point}"
    control.arm(stage.control, Arming(token, point, "stop"))
    deadline = time.monotonic() + HIT_SECONDS
    while (hit := control.hit(stage.control, token)) is None:
        if time.monotonic() > deadline:
            refuse(f"No worker came by {point} within {HIT_SECONDS:.0f} s.")
        time.sleep(POLL_SECONDS)
    return hit


def _awake(stage: Stage, hits: list[Hit]) -> list[Done]:
    control.disarm(stage.control)
    # Everything that was in flight then has been decided by now; what the sleepers still do must change nothing.
    for hit in hits:
        with suppress(ProcessLookupError):
            os.kill(hit.pid, signal.SIGCONT)
    off = time.monotonic()
    recovery = stage.prober.recovery(off, MOST_SECONDS)
    done = []
    for hit in hits:
        kind, name = f"asleep at {hit.point}", f"asleep {hit.point}"
        in_flight = stage.observer.in_flight(hit.at, off)
        stage.writer.write(
            FaultOn(at=hit.at, fault=name, kind=kind, target=hit.process, in_flight=in_flight, freezes=True)
        )
        stage.writer.write(FailpointHit(at=hit.at, name=hit.point, action="stop", process=hit.process))
        done.append(Done(kind=kind, target=hit.process, on=hit.at, off=off, in_flight=in_flight, recovery=recovery))
        say(f"    {done[-1]}")
    for hit in hits:
        stage.writer.write(FaultOff(at=off, fault=f"asleep {hit.point}"))
    stage.writer.flush()
    return done
