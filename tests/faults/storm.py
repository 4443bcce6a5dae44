"""A short storm that meets every rule there is: for builds with one of them broken, which it has to bring to light."""

from tests.faults.broken.expected import CAUGHT_BY
from tests.faults.checker import Report
from tests.faults.failpoints import matrix
from tests.faults.nemesis.attack import Done
from tests.faults.runs import nemesis
from tests.faults.stage import Stage

CASES = (
    "looked_up/stop",
    "before_commit/kill",
    "committed/kill",
    "half_deposited/kill",
    "before_ack/kill",
    "membership_changed/kill",
)
KINDS = (
    "worker killed",
    "Valkey emptied",
    "connections cut",
    "clock 5 minutes ahead",
    "PostgreSQL killed",
    "worker stopped",
)
SECONDS = 40.0


def storm(stage: Stage) -> list[Done]:
    """Failpoints first, then faults by chance."""
    done = matrix.playing(matrix.cases(CASES))(stage)
    return [*done, *nemesis(stage)]


def is_caught(build: str, report: Report) -> bool:
    """Whether the checker says of it what it has to say."""
    return bool(report.verdicts & CAUGHT_BY[build])
