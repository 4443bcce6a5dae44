"""Many stories, one after the other: which seeds broke a promise, and with which builds."""

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec

from tests.faults import broken
from tests.faults.simulation.stand_ins import standing_in
from tests.faults.simulation.verdict import Judgement, play

# Stories leave circles of dead processes behind; looking for them after each costs more than the memory.
COLLECT_EVERY = 25


class Played(msgspec.Struct, frozen=True):
    """What came of many seeds. `violations` are those of seeds that broke a promise; `kinds` counts the stories in which a kind of fault happened."""

    seeds: int
    seconds: float
    cpu_seconds: float
    violations: tuple[Judgement, ...]
    messages: int
    deliveries: int
    kinds: Counter[str]
    build: str = ""

    @property
    def verdicts(self) -> frozenset[str]:
        """All words said about any of them."""
        return frozenset(verdict for judgement in self.violations for verdict in judgement.verdicts)

    def lines(self) -> list[str]:
        """The report as text: first what was broken, and how to see it again."""
        lines = []
        for judgement in self.violations:
            lines += [
                judgement.line,
                *(f"    {example}" for example in judgement.examples[:3]),
                f"    {again(judgement.seed, judgement.mood, self.build)}",
            ]
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))
        lines.append(
            f"{self.seeds} stories in {self.seconds:.0f} s ({self.cpu_seconds:.0f} s of one core): {self.messages} messages acknowledged, {self.deliveries} shown; "
            f"{len(self.violations)} broke a promise"
        )
        lines.append(f"faults, by stories they happened in: {kinds or 'none'}")
        return lines


def again(seed: int, mood: str, build: str = "") -> str:
    """The command that plays this story again, and tells it."""
    return f"python -m tests.faults.simulation --seed {seed} --mood {mood}{f' --break {build}' if build else ''}"


def run(
    seeds: Iterable[int],
    break_: str | None = None,
    *,
    mood: str | None = None,
    until: Callable[[Judgement], bool] = lambda _: False,
    heard: Callable[[Judgement], None] = lambda _: None,
) -> Played:
    """Play these seeds, all in this mood if one is named, with one rule broken if `break_` names it. It ends early with a story of which `until` holds."""
    began, cpu_began = time.perf_counter(), time.process_time()
    violations: list[Judgement] = []
    kinds: Counter[str] = Counter()
    count = messages = deliveries = 0
    with building(break_):
        for seed in seeds:
            judgement = play(seed, mood=mood)
            heard(judgement)
            count += 1
            messages += judgement.report.figures.acked
            deliveries += judgement.report.figures.shown
            kinds.update(judgement.kinds)
            if judgement.verdicts:
                violations.append(judgement)
            if until(judgement):
                break
            if count % COLLECT_EVERY == 0:
                gc.collect()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Played(count, seconds, cpu_seconds, tuple(violations), messages, deliveries, kinds, break_ or "")


@contextlib.contextmanager
def building(name: str | None) -> Iterator[None]:
    """Inside, this rule is broken."""
    if not name:
        yield
        return
    with broken.installed(name), standing_in(name):
        yield
