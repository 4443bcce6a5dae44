"""By which words each broken build is to be caught: one of them is enough, and no other may come alone."""

from tests.faults.checker.verdicts import Verdict

CAUGHT_BY: dict[str, frozenset[Verdict]] = {
    "cursor_max_seen": frozenset({Verdict.LOST}),
    # Drains read the outbox as well, so nothing is lost with a finisher: it stays there.
    "no_finisher": frozenset({Verdict.BACKLOG, Verdict.LOST}),
    # The sweep brings what these two forget; they are caught by its being late, which takes many schedules.
    "flag_after_read": frozenset({Verdict.LATE, Verdict.LOST}),
    "subscribe_late": frozenset({Verdict.LATE, Verdict.LOST}),
    "redis_dedupe": frozenset({Verdict.DUPLICATED, Verdict.DIVERGED}),
    "ack_before_commit": frozenset({Verdict.LOST, Verdict.DIVERGED}),
    "range_ack": frozenset({Verdict.LOST, Verdict.RECEIPT}),
    # In this schema an ack has a column of its own: no clock brings a message back, but its ciphertext.
    "worker_clock": frozenset({Verdict.RESURRECTED}),
    "devcheck_outside": frozenset({Verdict.LOST, Verdict.GAP, Verdict.LEAKED, Verdict.UNLINKED}),
    "no_hold_back": frozenset({Verdict.REORDERED, Verdict.GAP}),
    "lag_cursor": frozenset({Verdict.LOST}),
    "no_membership_lock": frozenset({Verdict.LEAKED, Verdict.LOST}),
    "cursor_incomplete_pass": frozenset({Verdict.LOST}),
}
