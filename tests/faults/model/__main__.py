"""`python -m tests.faults.model [schedules]` prints the table; with a variant and a seed, the outcome of that schedule."""

import sys
import time
from itertools import islice

from tests.faults.model.rules import ALL_KEPT, COSTLY, RARE, VARIANTS
from tests.faults.model.schedules import Outcome, by_chance
from tests.faults.model.systematic import outcomes

SCHEDULES = 600
ALL_TRIED = (*RARE, "prompt")


def main(arguments: list[str]) -> int:
    if len(arguments) == 2:
        say(repr(_again(arguments[0], int(arguments[1]))))
        return 0
    return table(int(arguments[0]) if arguments else SCHEDULES)


def table(schedules: int) -> int:
    """0 if every rule is kept by those who keep it, and missed by those who do not."""
    say(
        f"{'variant':24}{'schedules':>10}{'violated':>9}{'lost':>7}{'doubled':>8}{'order':>7}{'uncommitted':>12}"
        f"{'backlog':>8}{'again/acked':>12}{'first seed':>11}"
    )
    is_good = True
    for name in VARIANTS:
        began = time.monotonic()
        found = _found(name, schedules)
        bad = [number for number, outcome in enumerate(found) if outcome.is_violation]
        say(_row(name, found, bad) + f"  {VARIANTS[name].what} ({time.monotonic() - began:.1f} s)")
        is_good &= name in COSTLY or bool(bad) != (name in ALL_KEPT)
    return 0 if is_good else 1


def _again(name: str, number: int) -> Outcome:
    """The schedule of a seed; of those that are all tried, the one of this number."""
    if name in ALL_TRIED:
        return next(islice((outcome for _, outcome in outcomes(VARIANTS[name].rules)), number, None))
    return by_chance(VARIANTS[name].rules, number)


def _found(name: str, schedules: int) -> list[Outcome]:
    rules = VARIANTS[name].rules
    if name in ALL_TRIED:
        return [outcome for _, outcome in outcomes(rules)]
    return [by_chance(rules, seed) for seed in range(schedules)]


def _row(name: str, found: list[Outcome], bad: list[int]) -> str:
    acked = sum(outcome.acked for outcome in found)
    again = sum(outcome.redelivered for outcome in found) / max(acked, 1)
    sums = {
        field: sum(getattr(outcome, field) for outcome in found)
        for field in ("lost", "doubled", "reordered", "uncommitted", "backlog")
    }
    first = str(bad[0]) if bad else ""
    return (
        f"{name:24}{len(found):>10}{len(bad):>9}{sums['lost']:>7}{sums['doubled']:>8}{sums['reordered']:>7}"
        f"{sums['uncommitted']:>12}{sums['backlog']:>8}{again:>12.2f}{first:>11}"
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
