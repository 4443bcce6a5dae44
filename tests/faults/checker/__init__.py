"""The checker: judges a recorded history (`tests.faults.history`) against the promises, in time linear in its events.

    report = check(Path("run").glob("*.jsonl"))
    report.verdicts == frozenset()

It knows the servers only by what clients were told and got, and by PostgreSQL's dump at the end. One file for each group of invariants; the words
it uses are those of `verdicts.Verdict`.
"""

from collections.abc import Iterable
from pathlib import Path

from tests.faults.checker import answers, audience, delivery, order, planted, recovery
from tests.faults.checker.facts import gather
from tests.faults.checker.report import Report, figures
from tests.faults.checker.verdicts import Verdict, Violation
from tests.faults.history import AnyEvent, read

__all__ = ["Report", "Verdict", "Violation", "check", "judge"]


def check(paths: Iterable[Path]) -> Report:
    """The report on the history in these files."""
    return judge(read(paths))


def judge(events: Iterable[AnyEvent]) -> Report:
    """The report on these events, which follow each other in time."""
    facts = gather(events)
    conversations = list(audience.conversations(facts))
    found = [
        *delivery.judge(facts, conversations),
        *order.judge(facts, conversations),
        *facts.payloads.judge(facts),
        *facts.deletions.judge(facts),
        *facts.receipts.judge(facts),
        *facts.lateness.violations,
        *answers.judge(facts),
        *recovery.judge(facts),
        *planted.judge(facts),
    ]
    began = facts.began
    return Report(tuple(found), figures(facts), began.seed if began else None, began.build if began else "")
