"""Many stories, one after the other: which seeds broke a promise, and with which builds."""

import contextlib
import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

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
            f"{self.seeds} stories in {self.seconds:.0f} s ({self.cpu_seconds:.0f} s of CPU): {self.messages} messages acknowledged, {self.deliveries} shown; "
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


def run_on_all_cores(seeds: Sequence[int], *, mood: str | None = None) -> Played:
    """As `run`, by as many processes as there are cores: no story knows of another."""
    began = time.perf_counter()
    count = os.cpu_count() or 1
    # What was set up stays set up.
    with multiprocessing.get_context("fork").Pool(count) as pool:
        parts = pool.map(partial(run, mood=mood), [seeds[number::count] for number in range(count)], chunksize=1)
    return Played(
        seeds=sum(part.seeds for part in parts),
        seconds=time.perf_counter() - began,
        cpu_seconds=sum(part.cpu_seconds for part in parts),
        violations=tuple(sorted((each for part in parts for each in part.violations), key=lambda each: each.seed)),
        messages=sum(part.messages for part in parts),
        deliveries=sum(part.deliveries for part in parts),
        kinds=sum((part.kinds for part in parts), Counter()),
    )


@contextlib.contextmanager
def building(name: str | None) -> Iterator[None]:
    """Inside, this rule is broken."""
    if not name:
        yield
        return
    with broken.installed(name), standing_in(name):
        yield
