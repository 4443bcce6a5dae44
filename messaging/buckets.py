"""Token buckets in the process: limits of the hot path, where asking Redis for every message would cost more than the message."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable

MOST_KEYS = 100_000


class TokenBuckets:
    """One bucket per key: `burst` tokens at first, `rate` more each second. A burst or rate of 0 means no limit."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, *, cost: int = 1) -> float:
        """Take so many tokens: 0.0 when they were there, else the seconds until they are. What costs more than a full bucket takes a full one."""
        if not self._rate or not self._burst:
            return 0.0
        now = asyncio.get_running_loop().time()
        level, seen = self._levels.get(key, (self._burst, now))
        level = min(self._burst, level + (now - seen) * self._rate)
        cost_here = min(cost, self._burst)
        if level < cost_here:
            return (cost_here - level) / self._rate
        self._levels[key] = (level - cost_here, now)
        self._levels.move_to_end(key)
        if len(self._levels) > MOST_KEYS:
            self._levels.popitem(last=False)
        return 0.0

    def give_back(self, key: Hashable) -> None:
        """A token that was taken for nothing."""
        if key in self._levels:
            level, seen = self._levels[key]
            self._levels[key] = (min(self._burst, level + 1), seen)
