"""I10, I13, P10: when the faults are over, everything is as before, by itself and soon."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from tests.faults.checker.facts import Facts, Fault
from tests.faults.checker.log import NEVER
from tests.faults.checker.verdicts import Verdict, Violation

RECOVERY_SECONDS = 60.0
LONGEST_LAG_SECONDS = 10.0
MORE = 0.10
# What a tenth of a small number is not worth arguing about. A worker to which all clients have come fills its pools of connections, and keeps them.
FEW = {"descriptors": 16.0, "connections": 16.0, "rss": 0.0}
UNAVAILABLE = "STORAGE_UNAVAILABLE"


def judge(facts: Facts) -> Iterator[Violation]:
    yield from _end(facts)
    yield from _lag(facts)
    for fault, seconds in recoveries(facts):
        if seconds > RECOVERY_SECONDS:
            what = f"sends failed until {seconds:.0f} s after {fault.on.kind} of {fault.on.target} had ended"
            yield Violation(Verdict.UNRECOVERED, what, fault.off_at)
    yield from _resources(facts)


def _end(facts: Facts) -> Iterator[Violation]:
    if facts.dumped is None:
        yield Violation(Verdict.UNFINISHED, "the dump from PostgreSQL is missing")
        return
    if facts.dumped.backlog:
        yield Violation(Verdict.BACKLOG, f"{facts.dumped.backlog} entries are still undeposited", facts.dumped.at)
    if not facts.dumped.watermark_reached:
        yield Violation(Verdict.BACKLOG, "the watermark has not come past the last entry", facts.dumped.at)
    for fault in facts.faults.values():
        if fault.off_at == NEVER:
            yield Violation(Verdict.UNFINISHED, f"{fault.on.kind} of {fault.on.target} never ended", fault.on.at)


def _lag(facts: Facts) -> Iterator[Violation]:
    healed = max((fault.off_at for fault in facts.faults.values()), default=NEVER)
    for one in facts.measured:
        if one.what == "watermark_lag" and one.at > healed + RECOVERY_SECONDS and one.value > LONGEST_LAG_SECONDS:
            what = f"the watermark is {one.value:.0f} s behind, {one.at - healed:.0f} s after the last fault"
            yield Violation(Verdict.BACKLOG, what, one.at)


def recoveries(facts: Facts) -> Iterator[tuple[Fault, float]]:
    """Of each fault, how long after its end sends were still refused for it, or none had gone through yet; until a later fault explains it.

    Where none goes through at all, it is at least as long as somebody tried.
    """
    sends = [call for call in facts.calls if call.what == "send"]
    tried = sorted(call.invoked_at for call in sends)
    refused = sorted(call.at for call in sends if call.code == UNAVAILABLE)
    committed = sorted(call.at for call in sends if call.outcome == "ok")
    faults = sorted((fault for fault in facts.faults.values() if fault.off_at != NEVER), key=lambda fault: fault.off_at)
    for fault in faults:
        later = (other.on.at for other in faults if other.off_at > fault.off_at)
        window = fault.off_at, min(later, default=NEVER)
        last, first = _between(refused, window)[-1:], _between(committed, window)[:1] or _between(tried, window)[-1:]
        yield fault, max((at - fault.off_at for at in last + first), default=0.0)


def _between(moments: list[float], window: tuple[float, float]) -> list[float]:
    return moments[bisect_right(moments, window[0]) : bisect_left(moments, window[1])]


def _resources(facts: Facts) -> Iterator[Violation]:
    before, after = _medians(facts, "before"), _medians(facts, "after")
    for key, was in before.items():
        now = after.get(key)
        process, what = key
        if now is None:
            yield Violation(Verdict.UNFINISHED, f"{what} of {process} was not measured again")
        elif now - was > max(MORE * was, FEW[what]):
            yield Violation(Verdict.RESOURCES, f"{process} had {was:.0f} {what}, and has {now:.0f}")


def _medians(facts: Facts, phase: str) -> dict[tuple[str, str], float]:
    values: dict[tuple[str, str], list[float]] = {}
    for one in facts.measured:
        if one.phase == phase and one.what in FEW:
            values.setdefault((one.process, one.what), []).append(one.value)
    return {key: sorted(found)[len(found) // 2] for key, found in values.items()}
