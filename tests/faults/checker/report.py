"""What is said about a run: counts of each verdict, the first examples, and figures."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from tests.faults.checker.facts import Facts
from tests.faults.checker.recovery import recoveries
from tests.faults.checker.verdicts import Verdict, Violation

EXAMPLES = 5
OK, VIOLATED, UNJUDGED = 0, 1, 2


class Figures(msgspec.Struct, frozen=True):
    """Numbers of one run. Seconds where nothing else is said."""

    invoked: int
    attempts: int
    acked: int
    refused: int
    unknown: int
    entries: int
    received: int
    shown: int
    # Seqs that devices were told not to wait for.
    excused: int
    receipts: int
    faults: int
    kinds: int
    idle_faults: int
    failpoints: int
    worst_recovery: float
    send_p50: float
    send_p99: float
    send_max: float
    delivery_p50: float
    delivery_p99: float
    delivery_max: float

    @property
    def redeliveries_per_shown(self) -> float:
        """What is received again is a cost, not an error."""
        return (self.received - self.shown) / self.shown if self.shown else 0.0


class Report(msgspec.Struct, frozen=True):
    """The judgement."""

    violations: tuple[Violation, ...]
    figures: Figures
    seed: int | None = None
    build: str = ""

    @property
    def counts(self) -> Counter[Verdict]:
        return Counter(violation.verdict for violation in self.violations)

    @property
    def verdicts(self) -> frozenset[Verdict]:
        return frozenset(self.counts)

    @property
    def exit_code(self) -> int:
        """0: every promise was kept. 1: one was broken. 2: nothing is known to be broken, but the run cannot be judged."""
        if self.verdicts - {Verdict.UNFINISHED}:
            return VIOLATED
        return UNJUDGED if self.violations else OK

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [f"seed {self.seed}  build {self.build or 'whole'}"]
        lines += [f"{count:8}  {verdict.value}" for verdict, count in sorted(self.counts.items())]
        for verdict in sorted(self.verdicts):
            examples = [violation for violation in self.violations if violation.verdict == verdict][:EXAMPLES]
            lines += [f"{verdict.value}: {_when(violation)}{violation.what}" for violation in examples]
        lines += [f"{value!s:>12}  {name}" for name, value in msgspec.structs.asdict(self.figures).items()]
        lines.append({OK: "every promise was kept", VIOLATED: "VIOLATED", UNJUDGED: "NOT JUDGED"}[self.exit_code])
        return lines


def _when(violation: Violation) -> str:
    return "" if violation.at is None else f"at {violation.at:.3f}, "


def figures(facts: Facts) -> Figures:
    """The numbers of a run."""
    messages = facts.logs.messages.values()
    sends = sorted(call.at - call.invoked_at for call in facts.calls if call.what == "send" and call.outcome == "ok")
    delays = sorted(facts.lateness.delays)
    acked = sum(message.is_sent for message in messages)
    refused = sum(message.is_refused and not (message.is_sent or message.is_unknown) for message in messages)
    return Figures(
        invoked=len(messages),
        attempts=facts.counts["attempts"],
        acked=acked,
        refused=refused,
        unknown=len(messages) - acked - refused,
        entries=sum(map(len, facts.logs.conversations.values())),
        received=facts.counts["received"],
        shown=facts.counts["shown"],
        excused=facts.counts["excused"],
        receipts=facts.receipts.count,
        faults=len(facts.faults),
        kinds=len({fault.on.kind for fault in facts.faults.values() if fault.on.in_flight}),
        idle_faults=sum(not fault.on.in_flight for fault in facts.faults.values()),
        failpoints=len(facts.failpoints),
        worst_recovery=max((seconds for _, seconds in recoveries(facts)), default=0.0),
        send_p50=_quantile(sends, 0.5),
        send_p99=_quantile(sends, 0.99),
        send_max=_quantile(sends, 1),
        delivery_p50=_quantile(delays, 0.5),
        delivery_p99=_quantile(delays, 0.99),
        delivery_max=_quantile(delays, 1),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(int(share * len(values)), len(values) - 1)] if values else 0.0
