"""I12: no planted secret stands in any file (**secret**)."""

from collections.abc import Iterator

from tests.faults.checker.facts import Facts
from tests.faults.checker.verdicts import Verdict, Violation
from tests.faults.history import SecretFound


def judge(facts: Facts) -> Iterator[Violation]:
    for event in facts.secrets:
        if isinstance(event, SecretFound):
            yield Violation(Verdict.SECRET, f"{event.label} stands in {event.file}", event.at)
        elif not event.control_found:
            yield Violation(Verdict.SECRET, "the search does not find what was planted to be found", event.at)
