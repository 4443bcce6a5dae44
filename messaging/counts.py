"""What this process has done and how it does, in numbers: plain ones, because they are counted on the hot road and read now and then.

No number here belongs to a person, a device or a conversation.
"""

from bisect import bisect_left

import msgspec

from accounts.counts import AccountCounts
from conversations.backlog import Backlog
from messaging import close_codes

# Upper bounds of the buckets, in seconds; one more bucket has what is above.
BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# Of close codes that clients choose freely: a label has few values.
OTHER = "other"


class Durations(msgspec.Struct):
    """How long something took, as a histogram."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def note(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class Counts(msgspec.Struct):
    """Since the process began; `sockets` and what follows it is as it is now."""

    sent: int = 0
    repeated: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    answer: Durations = msgspec.field(default_factory=Durations)
    delivered: int = 0
    acknowledged: int = 0
    deposited: int = 0
    failed_deposits: int = 0
    finished: int = 0
    skipped: int = 0
    unreadable: int = 0
    filled: int = 0
    passes: int = 0
    failed_passes: int = 0
    finds: int = 0
    opened: int = 0
    closes: dict[str, int] = msgspec.field(default_factory=dict)
    lag: Durations = msgspec.field(default_factory=Durations)
    sockets: int = 0
    away: tuple[str, ...] = ()
    misplaced: bool = False
    connections: dict[str, int] = msgspec.field(default_factory=dict)
    cache_hits: dict[str, int] = msgspec.field(default_factory=dict)
    cache_misses: dict[str, int] = msgspec.field(default_factory=dict)
    cache_fallbacks: dict[str, int] = msgspec.field(default_factory=dict)
    backlog: Backlog = msgspec.field(default_factory=Backlog)
    accounts: AccountCounts = msgspec.field(default_factory=AccountCounts)

    # Of wake-ups: what became of them, and why there was none for a device that could have been woken.
    pushes: dict[str, int] = msgspec.field(default_factory=dict)
    pushes_withheld: dict[str, int] = msgspec.field(default_factory=dict)
    pushes_waiting: int = 0

    def push(self, outcome: str) -> None:
        """A wake-up has ended so."""
        self.pushes[outcome] = self.pushes.get(outcome, 0) + 1

    def withhold(self, reason: str) -> None:
        """A device was left alone for this reason."""
        self.pushes_withheld[reason] = self.pushes_withheld.get(reason, 0) + 1

    def refuse(self, code: str) -> None:
        """A send was refused with this code."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def close(self, code: int) -> None:
        """A socket has ended with this code."""
        name = str(code) if code in close_codes.ALL else OTHER
        self.closes[name] = self.closes.get(name, 0) + 1


# Of this process.
counts = Counts()
