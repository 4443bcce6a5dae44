"""One fault after the other, or two at once, by a seed: what was done, what was in flight then, and how long it took until all was well again."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.faults.history import FaultOff, FaultOn, Writer
from tests.faults.nemesis.faults import Fault
from tests.faults.nemesis.observer import Observer
from tests.faults.nemesis.prober import Prober

MOST_SECONDS = 60.0
# What the load does is in its history after so long.
HISTORY_LAG_SECONDS = 0.4
CALM_SECONDS = (0.5, 2.0)
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Done:
    """A fault that is over. Times are CLOCK_MONOTONIC; `recovery` in seconds, None when it was not well within a minute."""

    kind: str
    target: str
    on: float
    off: float
    in_flight: int
    recovery: float | None

    def __str__(self) -> str:
        well = "NOT WELL AGAIN" if self.recovery is None else f"well again after {self.recovery:.1f} s"
        return f"{self.kind} ({self.target}) for {self.off - self.on:.1f} s, {self.in_flight} in flight: {well}"


class Nemesis:
    """Does things to an installation while somebody talks in it."""

    def __init__(
        self,
        *,
        seed: int,
        faults: Sequence[Fault],
        writer: Writer,
        observer: Observer,
        prober: Prober,
        longest: float,
        tell: Tell,
        series: str = "",
    ) -> None:
        """No fault lasts longer than `longest` seconds. `series` begins the names of its faults: no other nemesis of the run has the same."""
        self._random = Random(seed)  # noqa: S311  (a schedule that can be repeated)
        self._faults = faults
        self._writer = writer
        self._observer = observer
        self._prober = prober
        self._longest = longest
        self._tell = tell
        self._series = series
        self.done: list[Done] = []

    def attack(self, seconds: float, *, together: float = 0.0) -> None:
        """For so long; each kind comes once before one comes again. `together`: the share of faults that come two at a time."""
        until = time.monotonic() + seconds
        order = self._order()
        while time.monotonic() < until:
            faults = [next(order)]
            if self._random.random() < together:
                faults.append(next(order))
            self.inflict(faults)
            time.sleep(self._random.uniform(*CALM_SECONDS))

    def inflict(self, faults: Sequence[Fault]) -> None:
        """Have these at once, take them back, and wait until all is well."""
        self._prober.keep_signed_in()
        begun: list[tuple[Fault, float]] = []
        try:
            for fault in faults:
                begun.append((fault, time.monotonic()))
                fault.begin()
            time.sleep(min(self._longest, max(self._random.uniform(*fault.span) for fault in faults)))
        finally:
            ended = take_back(begun)
        last = max(off for _, _, off in ended)
        recovery = self._prober.recovery(last, MOST_SECONDS)
        time.sleep(HISTORY_LAG_SECONDS)
        self._note(ended, recovery)

    def _note(self, ended: Sequence[tuple[Fault, float, float]], recovery: float | None) -> None:
        """Written when it is over, because only then it is known what was in flight."""
        events: list[FaultOn | FaultOff] = []
        for fault, on, off in ended:
            name = f"{self._series}{len(self.done) + 1}"
            in_flight = self._observer.in_flight(on, off)
            events.append(
                FaultOn(
                    at=on,
                    fault=name,
                    kind=fault.kind,
                    target=fault.target,
                    in_flight=in_flight,
                    freezes=fault.freezes,
                )
            )
            events.append(FaultOff(at=off, fault=name, recovery=recovery))
            done = Done(kind=fault.kind, target=fault.target, on=on, off=off, in_flight=in_flight, recovery=recovery)
            self.done.append(done)
            self._tell(str(done))
        for event in sorted(events, key=lambda event: event.at):
            self._writer.write(event)
        self._writer.flush()

    def _order(self) -> Iterator[Fault]:
        """Kinds in an order by chance, each with a target by chance; then again in another order."""
        by_kind: dict[str, list[Fault]] = {}
        for fault in self._faults:
            by_kind.setdefault(fault.kind, []).append(fault)
        while True:
            kinds = sorted(by_kind)
            self._random.shuffle(kinds)
            for kind in kinds:
                yield self._random.choice(by_kind[kind])


def take_back(begun: Sequence[tuple[Fault, float]]) -> list[tuple[Fault, float, float]]:
    """Each with when it began and when it was over. All are taken back first: one server may wait for the end of another's fault, or of its own second."""
    ended = []
    for fault, _ in begun:
        fault.end()
        ended.append(time.monotonic())
    for place, (fault, _) in enumerate(begun):
        if fault.wait is not None:
            fault.wait()
            ended[place] = time.monotonic()
    return [(fault, on, off) for (fault, on), off in zip(begun, ended, strict=True)]
