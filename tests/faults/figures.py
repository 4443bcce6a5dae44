"""The figures of one run, by the names of the table and of the columns of the CSV."""

import statistics
from collections import Counter

from tests.faults.checker import Report, Verdict
from tests.faults.checker.verdicts import Verdict as Word
from tests.faults.phases import PHASES, latencies
from tests.faults.runs import Run

# What the headline names.
FOUR = (Word.LOST, Word.DUPLICATED, Word.REORDERED, Word.LEAKED)
# How the kinds of the matrix begin.
FAILPOINT = "failpoint "
Figures = dict[str, str]


def figures(run: Run, report: Report) -> Figures:
    """Everything there is to say about a run in numbers."""
    found = report.figures
    messages = {
        "messages_invoked": found.invoked,
        "acked": found.acked,
        "refused": found.refused,
        "unknown": found.unknown,
    }
    deliveries = {
        "entries": found.entries,
        "envelopes_received": found.received,
        "shown": found.shown,
        "redeliveries_per_shown": f"{_repeated(run) / max(found.shown, 1):.3f}",
        "receipts": found.receipts,
    }
    wrong = {str(verdict.value): report.counts[verdict] for verdict in Verdict} | {
        "other_promises_broken": len(run.broken)
    }
    return {
        "run": run.order.name,
        "layout": run.order.layout,
        "seed": str(run.order.seed),
        "build": run.order.build or "whole",
        "seconds": f"{run.seconds:.0f}",
        **_text(messages | deliveries | wrong),
        **_of_faults(run),
        **_of_time(run),
        **_of_load(run),
    }


def _text(values: dict[str, object]) -> Figures:
    return {name: str(value) for name, value in values.items()}


def _repeated(run: Run) -> int:
    """Envelopes that a device had already. Own messages are shown and never received, so the checker's counts do not tell."""
    return int(run.statuses[-1].get("repeated", 0)) if run.statuses else 0


def _of_faults(run: Run) -> Figures:
    hits = [each for each in run.done if each.in_flight]
    recovered = [each.recovery for each in run.done if each.recovery is not None]
    return {
        "faults": str(len(run.done)),
        "faults_with_messages_in_flight": str(len(hits)),
        "kinds_of_fault": str(len({each.kind for each in hits})),
        "kinds": "; ".join(sorted({each.kind for each in hits})),
        "recovery_median_s": f"{statistics.median(recovered):.1f}" if recovered else "",
        "recovery_worst_s": f"{max(recovered):.1f}" if recovered else "",
        "not_recovered": str(len(run.done) - len(recovered)),
        "backlog_gone_after_s": f"{run.backlog_seconds:.1f}",
    }


def _of_time(run: Run) -> Figures:
    measured = latencies(run.histories, run.done)
    columns: Figures = {}
    for what in ("send", "delivery"):
        for phase in PHASES:
            latency = measured.get((what, phase))
            for name in ("p50", "p99", "longest"):
                value = "" if latency is None else f"{getattr(latency, name) * 1000:.1f}"
                columns[f"{what}_{phase}_{name}_ms"] = value
    return columns


def _of_load(run: Run) -> Figures:
    last = run.statuses[-1] if run.statuses else {}
    sums = Counter[str]()
    for name, (before, after) in run.resources.items():
        what = name.partition(" ")[2]
        sums[f"{what}_before"] += round(before)
        sums[f"{what}_after"] += round(after)
    acked, received = int(last.get("acked", 0)), int(last.get("received", 0))
    return {
        "messages_per_second": f"{acked / run.seconds:.1f}",
        "deliveries_per_second": f"{received / run.seconds:.1f}",
        "gaps_asked_about": str(last.get("resolves", 0)),
        "sockets": str(last.get("devices", 0)),
        "cpu_cores_used": f"{run.cpu_seconds / run.seconds:.2f}",
        **_text(dict(sums)),
    }


def headline(all_figures: list[Figures]) -> str:
    """What is to be said in one sentence."""
    acked, faults = (
        sum(int(each[name]) for each in all_figures) for name in ("acked", "faults_with_messages_in_flight")
    )
    kinds = {kind for each in all_figures for kind in each["kinds"].split("; ") if kind}
    points = {kind for kind in kinds if kind.startswith(FAILPOINT)}
    wrong = ", ".join(f"{sum(int(each[word.value]) for each in all_figures)} {word.value}" for word in FOUR)
    worst = max((float(each["recovery_worst_s"]) for each in all_figures if each["recovery_worst_s"]), default=0.0)
    return f"{acked:,} messages acked under {faults} faults of {len(kinds - points)} kinds and at {len(points)} failpoints: {wrong}; worst recovery {worst:.1f} s."
