"""Lanes: one for each push service, so that one that hangs or fails keeps only itself busy."""

import random
from dataclasses import dataclass

# In the network at one time, from one process.
SENDS = 32
SENDS_PER_LANE = 6
# Clients name push services at will. Those that have taken nothing, or nothing since they failed, share this part of the sends.
SENDS_OF_STRANGERS = 12
REST_SECONDS = 2.0
LONGEST_REST_SECONDS = 300.0
MOST_LANES = 2_000


@dataclass(slots=True)
class _Lane:
    sending: int = 0
    has_taken: bool = False
    failures: int = 0
    rests_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to one send. `is_strange`: its lane had taken nothing, or nothing since it failed, when it began."""

    lane: str
    is_strange: bool


class Lanes:
    """Those of one process. Times are of its loop."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._sending = self._strangers = 0

    @property
    def free(self) -> int:
        """How many sends may still begin."""
        return SENDS - self._sending

    def not_before(self, name: str, now: float) -> float:
        """When this lane may be tried: `now` if one more send may begin at once."""
        lane = self._lanes.get(name) or _Lane()
        if lane.rests_until > now:
            return lane.rests_until
        is_busy = lane.sending >= SENDS_PER_LANE or self.free <= 0
        is_crowded = not lane.has_taken and self._strangers >= SENDS_OF_STRANGERS
        return now + REST_SECONDS / 2 if is_busy or is_crowded else now

    def begin(self, name: str) -> Turn:
        """A send begins."""
        if len(self._lanes) >= MOST_LANES:
            self._lanes = {key: lane for key, lane in self._lanes.items() if lane.sending}
        lane = self._lanes.setdefault(name, _Lane())
        turn = Turn(name, is_strange=not lane.has_taken)
        lane.sending += 1
        self._sending += 1
        self._strangers += turn.is_strange
        return turn

    def end(self, turn: Turn) -> None:
        """It has ended, or was not to be."""
        self._lanes[turn.lane].sending -= 1
        self._sending -= 1
        self._strangers -= turn.is_strange

    def is_well(self, name: str) -> None:
        """It has taken something."""
        lane = self._lanes[name]
        lane.has_taken, lane.failures, lane.rests_until = True, 0, 0.0

    def has_failed(self, name: str, now: float, advice: float | None) -> None:
        """It is left alone for a while, longer each time, or for as long as it has said itself."""
        lane = self._lanes[name]
        lane.has_taken = False
        lane.failures += 1
        lane.rests_until = max(lane.rests_until, now + (pause_after(lane.failures) if advice is None else advice))


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 2, 4, 8 … up to LONGEST_REST_SECONDS, each somewhere between half of it and all."""
    longest = min(REST_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_REST_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, guards nothing)
