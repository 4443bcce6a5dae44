"""Random histories: a good one passes, and with one thing broken it fails, by name."""

import random

import pytest

from tests.faults.checker import Verdict, judge
from tests.faults.random_stories import BREAKS, Break, random_story


@pytest.mark.parametrize("seed", range(25))
def test_a_history_that_keeps_every_promise_passes(seed: int) -> None:
    report = judge(random_story(seed))
    assert report.violations == ()
    assert report.figures.acked > 20
    assert report.figures.shown > 100


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("verdict", "broken"),
    [(verdict, one) for verdict, some in BREAKS.items() for one in some],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_history_with_one_thing_broken_fails_by_name(verdict: Verdict, broken: Break, seed: int) -> None:
    events = random_story(seed)
    broken(events, random.Random(seed))  # noqa: S311  (a seed is to repeat it)
    assert verdict in judge(events).verdicts
