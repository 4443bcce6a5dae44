"""Whether two kinds of request can be told apart by the time they take.

The rank-sum test of Mann and Whitney (Annals of Mathematical Statistics 18, 1947), as an effect: how likely a request of one kind takes longer than
one of the other. One half means that time says nothing. What a machine does beside the test spoils single batches, in either direction; a leak
shows in every one.
"""

import random
import time
from collections.abc import Callable, Sequence

BATCH = 40
BATCHES = 6
# Up to 5 to 3 is let pass: batches of this size wander that far by themselves.
LARGEST_EFFECT = 0.25


def come_from_one_distribution(
    one: Callable[[], object], other: Callable[[], object], *, batch: int = BATCH, batches: int = BATCHES
) -> bool:
    """Whether in one of a few batches the times of the two calls cannot be told apart. Larger batches see smaller differences: up to LARGEST_EFFECT."""
    return any(abs(superiority(*_measured(one, other, batch)) - 0.5) < LARGEST_EFFECT / 2 for _ in range(batches))


def superiority(one: Sequence[float], other: Sequence[float]) -> float:
    """How often a value of the first is larger than one of the second (ties count half): U / (n1 · n2)."""
    wins = sum((a > b) + 0.5 * (a == b) for a in one for b in other)
    return wins / (len(one) * len(other))


def _measured(one: Callable[[], object], other: Callable[[], object], batch: int) -> tuple[list[float], list[float]]:
    """Times of both, in random order: what drifts meets both alike."""
    calls = [0, 1] * batch
    random.shuffle(calls)
    times: tuple[list[float], list[float]] = ([], [])
    for which in calls:
        began = time.perf_counter()
        (one, other)[which]()
        times[which].append(time.perf_counter() - began)
    return times
