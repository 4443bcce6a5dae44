"""How much of something a store takes at a time, learnt from what it has taken and what it could not.

What takes longer than a call may take is lost work, and the same work again is what a busy store needs least: after a failure a quarter is tried, and
twice as much after each success that was quick (additive growth would take minutes where an outage has left thousands).
"""

# A call may take about two seconds; what took longer than this was enough.
QUICK_SECONDS = 0.8


class Portion:
    """Between one and `largest` things."""

    def __init__(self, largest: int) -> None:
        self.size = largest
        self._largest = largest

    def failed(self, count: int) -> None:
        """So many were too many, or the store is away."""
        self.size = max(min(self.size, count) // 4, 1)

    def taken(self, count: int, *, seconds: float) -> None:
        """So many were taken. It tells nothing when there was less than what may be tried."""
        if 2 * count > self.size and seconds < QUICK_SECONDS:
            self.size = min(2 * self.size, self._largest)

    def refused(self, count: int) -> None:
        """One of so many is refused: halves are tried until it stands alone."""
        self.size = max(count // 2, 1)
