"""The model of the protocol: with all rules nothing is ever wrong, and without any one of them something is."""

from itertools import islice

import pytest

from tests.faults.model.__main__ import main
from tests.faults.model.rules import ALL_KEPT, COSTLY, RARE, RECOMMENDED, VARIANTS
from tests.faults.model.schedules import Outcome, by_chance
from tests.faults.model.systematic import outcomes, repeated

SCHEDULES = 150
OF_THE_PROTOCOL = 300
NEEDED = [name for name in VARIANTS if name not in (*ALL_KEPT, *COSTLY, *RARE)]


def first_violation(name: str, schedules: int) -> tuple[int, Outcome] | None:
    found = ((seed, by_chance(VARIANTS[name].rules, seed)) for seed in range(schedules))
    return next(((seed, outcome) for seed, outcome in found if outcome.is_violation), None)


@pytest.mark.parametrize("name", [name for name in ALL_KEPT if name != "prompt"])
def test_with_all_rules_no_schedule_breaks_a_promise(name: str) -> None:
    assert first_violation(name, OF_THE_PROTOCOL if name == RECOMMENDED else SCHEDULES) is None


def test_with_all_rules_and_no_faults_nothing_waits_for_a_sweep() -> None:
    found = list(outcomes(VARIANTS["prompt"].rules))
    assert len(found) > 1000
    assert not any(outcome.is_violation for _, outcome in found)


@pytest.mark.parametrize("name", NEEDED)
def test_without_this_rule_a_schedule_breaks_a_promise(name: str) -> None:
    violation = first_violation(name, SCHEDULES)
    assert violation is not None
    seed, outcome = violation
    assert by_chance(VARIANTS[name].rules, seed) == outcome, "a seed is a schedule"


@pytest.mark.parametrize("name", RARE)
def test_without_this_rule_few_schedules_break_a_promise_and_trying_all_finds_them(name: str) -> None:
    rules = VARIANTS[name].rules
    bad = [(choices, outcome) for choices, outcome in outcomes(rules) if outcome.is_violation]
    assert bad
    choices, outcome = bad[0]
    assert repeated(rules, choices) == outcome


@pytest.mark.parametrize("name", COSTLY)
def test_without_this_rule_nothing_is_lost_but_acknowledged_rows_come_back(name: str) -> None:
    with_it = [by_chance(VARIANTS[RECOMMENDED].rules, seed) for seed in range(100)]
    without = [by_chance(VARIANTS[name].rules, seed) for seed in range(100)]
    assert not any(outcome.is_violation for outcome in without)
    assert sum(outcome.redelivered for outcome in without) > 1.2 * sum(outcome.redelivered for outcome in with_it)


def test_what_the_model_does_is_not_nothing() -> None:
    outcome = by_chance(VARIANTS[RECOMMENDED].rules, 1)
    assert outcome.acked == 12
    assert len({choices for choices, _ in islice(outcomes(VARIANTS["prompt"].rules), 100)}) == 100


def test_one_line_repeats_a_schedule_and_the_table_says_whether_all_is_as_it_must_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([RECOMMENDED, "7"]) == 0
    assert capsys.readouterr().out == f"{by_chance(VARIANTS[RECOMMENDED].rules, 7)!r}\n"
    assert main([RARE[0], "116"]) == 0
    assert "lost=1" in capsys.readouterr().out
    assert main(["1"]) == 1, "one schedule does not show what each rule is for"
    assert len(capsys.readouterr().out.splitlines()) == len(VARIANTS) + 1
