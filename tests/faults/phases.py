"""Latencies of a run by when they were: while all was well, during a fault and its recovery, and after the last one."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tests.faults.history import EnvelopeReceived, SendAnswered, SendInvoked, SocketClosed, SocketOpened, read
from tests.faults.nemesis.attack import Done

Phase = Literal["healthy", "fault", "after"]
PHASES: tuple[Phase, ...] = ("healthy", "fault", "after")


class Latency(msgspec.Struct, frozen=True):
    """Seconds."""

    count: int
    p50: float
    p99: float
    longest: float


class Phases:
    """Which phase a moment belongs to. A fault lasts until all was well again."""

    def __init__(self, done: Sequence[Done]) -> None:
        spans = sorted((each.on, each.off + (each.recovery or 0.0)) for each in done)
        self._begins = [on for on, _ in spans]
        # A span may contain later ones.
        self._ends: list[float] = []
        for _, off in spans:
            self._ends.append(max(off, self._ends[-1] if self._ends else off))

    def of(self, at: float) -> Phase:
        place = bisect_right(self._begins, at)
        if place and at <= self._ends[place - 1]:
            return "fault"
        return "after" if place == len(self._begins) and place else "healthy"


def latencies(paths: Iterable[Path], done: Sequence[Done]) -> dict[tuple[str, Phase], Latency]:
    """Of attempts to send that were answered `sent`, and of deliveries to devices that were connected when the message was first sent."""
    phases = Phases(done)
    found: dict[tuple[str, Phase], list[float]] = {}
    invoked: dict[str, SendInvoked] = {}
    first: dict[str, float] = {}
    opened: dict[str, float] = {}
    seen: set[tuple[str, str]] = set()
    for event in read(paths):
        match event:
            case SocketOpened():
                opened[event.device] = event.at
            case SocketClosed():
                opened.pop(event.device, None)
            case SendInvoked():
                invoked[event.call] = event
                first.setdefault(event.mid, event.at)
            case SendAnswered(outcome="ok"):
                began = invoked.pop(event.call).at
                found.setdefault(("send", phases.of(began)), []).append(event.at - began)
            case SendAnswered():
                invoked.pop(event.call, None)
            case EnvelopeReceived(kind="message") if (event.device, event.mid) not in seen:
                seen.add((event.device, event.mid))
                since = first.get(event.mid)
                if since is not None and opened.get(event.device, since + 1) <= since:
                    found.setdefault(("delivery", phases.of(since)), []).append(event.at - since)
    return {key: _summary(sorted(values)) for key, values in found.items()}


def _summary(values: Sequence[float]) -> Latency:
    last = len(values) - 1
    return Latency(len(values), values[last // 2], values[round(last * 0.99)], values[last])
