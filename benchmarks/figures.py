"""From what was counted to what is reported."""

from collections.abc import Iterable, Sequence
from statistics import median

import msgspec


class Window(msgspec.Struct, frozen=True):
    """What was counted in one stretch of time. `messages` arrived, `accepted` were answered with `sent`.

    `cpu` is in seconds, by group of processes; latencies are in milliseconds.
    """

    seconds: float
    messages: int
    accepted: int
    sent_p50: float
    sent_p99: float
    envelope_p50: float
    envelope_p99: float
    cpu: dict[str, float]

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def accepted_rate(self) -> float:
        """Sends answered per second."""
        return self.accepted / self.seconds

    def cpu_ms(self, group: str) -> float | None:
        """Milliseconds of CPU per message of one group; None where it was not measured or nothing was sent."""
        used = self.cpu.get(group)
        return None if used is None or not self.messages else 1000 * used / self.messages

    def server_cpu_ms(self, groups: Iterable[str]) -> float:
        """Milliseconds of CPU per message of several groups together."""
        return sum(self.cpu_ms(group) or 0.0 for group in groups)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by `share` of all values (the nearest rank); 0.0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = -(-len(ordered) * round(share * 1000) // 1000)
    return ordered[max(0, rank - 1)]


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what was measured; None when nothing was."""
    measured = [value for value in values if value is not None]
    return median(measured) if measured else None
