"""The rules of the protocol, each of which can be taken away, and the table of what is taken away.

The names of the table are those of docs/reliability.md. `ALL_KEPT` are variants that must show nothing; every other one must show something.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How the modelled servers and clients behave, and what is done to them. The defaults are the protocol."""

    # What orders a mailbox: the transaction's id; a number taken before the commit; the worker's clock.
    position: Literal["transaction", "sequence", "clock"] = "transaction"
    # Where a drain begins: below everything un-acknowledged and the watermark after a complete pass; after the largest position sent (kept in
    # the store, or by the connection); behind a clock; or by what is in flight whenever the drain wakes.
    cursor: Literal["watermark", "max_seen", "connection", "lag", "in_flight"] = "watermark"
    sweeps: bool = True
    clears_first: bool = True
    subscribes_first: bool = True
    has_finisher: bool = True
    has_ledger: bool = True
    answers_after_commit: bool = True
    acks_exactly: bool = True
    # A deposit bears the time of its commit, an ack a later one; else both the clock of whoever writes.
    stamps_rows: bool = True
    reads_audience_inside: bool = True
    holds_back: bool = True
    # The world.
    hints_lost: float = 0.3
    envelopes_ride: bool = True
    kills: bool = True
    stops: bool = True
    drain_ahead: int = 0
    lag: int = 150


class Variant(msgspec.Struct, frozen=True):
    """A row of the table."""

    rules: Rules
    what: str


# Nothing is wrong, and there is no sweep: what is not brought at once is not brought at all.
PROMPT = Rules(sweeps=False, hints_lost=0, envelopes_ride=False, kills=False, stops=False)
LAG = Rules(cursor="lag", kills=False, stops=False)

RECOMMENDED = "recommended"
VARIANTS = {
    RECOMMENDED: Variant(Rules(), "all rules; 30 % of hints lost, workers die and stop"),
    "no_hints": Variant(Rules(hints_lost=1), "all rules; Redis loses everything"),
    "prompt": Variant(PROMPT, "all rules, no faults: without a sweep too, nothing waits"),
    "1_sequence_id": Variant(
        Rules(position="sequence", cursor="max_seen"), "a number taken before the commit, and a cursor"
    ),
    "2_clock_id": Variant(Rules(position="clock", cursor="max_seen"), "the worker's clock, and a cursor"),
    "3_no_sweep": Variant(Rules(sweeps=False), "lossy hints, no sweep"),
    "4_flag_after_read": Variant(replace(PROMPT, clears_first=False), "the flag is cleared after the read"),
    "5_subscribe_late": Variant(replace(PROMPT, subscribes_first=False), "subscribed after the first drain"),
    "6_no_finisher": Variant(Rules(has_finisher=False), "what a dead worker left is nobody's"),
    "7_no_ledger": Variant(Rules(has_ledger=False), "retries are not recognised"),
    "8_ack_before_commit": Variant(Rules(answers_after_commit=False), "sent is said before the commit"),
    "9_range_ack": Variant(Rules(acks_exactly=False), "an ack counts for everything below it"),
    "10_worker_clock": Variant(Rules(stamps_rows=False), "cells bear the workers' clocks"),
    "11_devcheck_outside": Variant(Rules(reads_audience_inside=False), "the audience is read before the lock"),
    "12_no_hold_back": Variant(Rules(holds_back=False), "clients show what arrives as it arrives"),
    "13_connection_cursor": Variant(Rules(cursor="connection"), "a read position inside one connection"),
    "14_lag_cursor": Variant(replace(LAG, lag=400), "a cursor behind good clocks, far enough"),
    "15_lag_cursor_stops": Variant(replace(LAG, stops=True, kills=True), "a cursor behind good clocks; workers stop"),
    "16_lag_cursor_ahead": Variant(replace(LAG, drain_ahead=300), "a cursor behind a clock that is ahead"),
    "cursor_max_seen": Variant(Rules(cursor="max_seen"), "the cursor follows what was sent"),
    "cursor_incomplete_pass": Variant(Rules(cursor="in_flight"), "the cursor moves without a complete pass"),
}
# The 14th looks as good as the protocol as long as nothing stops: it is there to be compared with the two after it.
ALL_KEPT = (RECOMMENDED, "no_hints", "prompt", "14_lag_cursor")
# Nothing is lost with it; acknowledged rows come back.
COSTLY = ("10_worker_clock",)
# So rare that schedules by chance would need thousands: these are found by trying all of a small one.
RARE = ("4_flag_after_read", "5_subscribe_late")
