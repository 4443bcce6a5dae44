"""The broken builds in the simulation: in which mood each is found soon, and what has to be said of it."""

from collections.abc import Iterable

from tests.faults.simulation.running import Played, run
from tests.faults.simulation.story import CHANGES, WHISPER

# One of these words is enough. Whatever else is said of a build beside it is true as well.
CAUGHT_AS = {
    "cursor_max_seen": ({"lost", "resurrected"}, None),
    "no_finisher": ({"lost", "backlog"}, None),
    "flag_after_read": ({"late"}, WHISPER),
    "subscribe_late": ({"late"}, WHISPER),
    "redis_dedupe": ({"duplicated", "diverged"}, None),
    "ack_before_commit": ({"lost", "diverged"}, None),
    "range_ack": ({"lost", "receipt"}, None),
    "worker_clock": ({"resurrected"}, None),
    "devcheck_outside": ({"lost", "gap", "reordered"}, CHANGES),
    "no_hold_back": ({"reordered"}, None),
    "lag_cursor": ({"lost", "resurrected"}, None),
    "no_membership_lock": ({"leaked", "lost"}, CHANGES),
    "cursor_incomplete_pass": ({"lost", "resurrected", "late"}, None),
}


def hunt(build: str, seeds: Iterable[int]) -> Played:
    """Play these seeds with the rule broken, until a story shows what the build does."""
    words, mood = CAUGHT_AS[build]
    return run(seeds, build, mood=mood, until=lambda judgement: bool(judgement.verdicts & words))


def is_caught(played: Played) -> bool:
    """Whether the build was called what it is."""
    return bool(played.verdicts & CAUGHT_AS[played.build][0])
