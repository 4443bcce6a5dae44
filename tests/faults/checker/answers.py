"""I9: every call has its answer in time (**hung**), and no HTTP answer surprises a client (**malformed**)."""

from collections.abc import Iterator

from tests.faults.checker.facts import Facts, Fault
from tests.faults.checker.log import NEVER
from tests.faults.checker.verdicts import Verdict, Violation

# P7, and a second for two busy cores.
ANSWER_SECONDS = 6.0


def judge(facts: Facts) -> Iterator[Violation]:
    freezes = [fault for fault in facts.faults.values() if fault.on.freezes]
    for call in facts.calls:
        took = call.at - call.invoked_at
        if took > ANSWER_SECONDS and not _was_frozen(freezes, call.invoked_at, call.at):
            how = "has no answer" if call.at == NEVER else f"took {took:.1f} s"
            yield Violation(Verdict.HUNG, f"a {call.what} {how}", call.invoked_at)
    for answer in facts.http:
        if not answer.documented:
            yield Violation(
                Verdict.MALFORMED, f"{answer.route} answered {answer.status} {answer.code}".rstrip(), answer.at
            )


def _was_frozen(freezes: list[Fault], since: float, until: float) -> bool:
    """Whether a server was stopped while the call was open; from when that ends it has as long as any other. A client ends a call itself sooner or later:
    one that has no end is never excused.
    """
    met = (fault for fault in freezes if fault.on.at < until and fault.off_at > since)
    return until != NEVER and any(until - fault.off_at <= ANSWER_SECONDS for fault in met)
