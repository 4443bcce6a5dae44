"""What the load knows of itself while it runs: counts, and how long sends and deliveries took lately."""

import time
from collections import OrderedDict
from typing import Any

FORGET_SECONDS = 120.0


class Figures:
    """`wanted`, `acked`, `refused`, `gave_up` count messages, `received` and `repeated` envelopes, `shown` seqs."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(
            [
                "wanted",
                "acked",
                "duplicates",
                "refused",
                "gave_up",
                "received",
                "repeated",
                "shown",
                "receipts",
                "resolves",
                "timeouts",
                "signed_out",
                "changes",
                "mad",
            ],
            0,
        )
        self.closed: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.anomalies: list[str] = []
        self._wanted: OrderedDict[str, float] = OrderedDict()
        self._sent: list[float] = []
        self._delivered: list[float] = []

    def count(self, what: str, by: int = 1) -> None:
        self.counts[what] += by

    def note_closed(self, code: int | None) -> None:
        key = str(code or "cut")
        self.closed[key] = self.closed.get(key, 0) + 1

    def note_error(self, code: str) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1

    def strange(self, what: str) -> None:
        """Something that should not have happened, in words."""
        self.anomalies.append(f"{time.monotonic():.3f} {what}")

    def wanted(self, mid: str, at: float) -> None:
        self.count("wanted")
        self._wanted[mid] = at
        while self._wanted and next(iter(self._wanted.values())) < at - FORGET_SECONDS:
            self._wanted.popitem(last=False)

    def accepted(self, mid: str, now: float) -> None:
        self.count("acked")
        if (since := self._wanted.get(mid)) is not None:
            self._sent.append(now - since)

    def delivered(self, mid: str, now: float, connected_since: float) -> None:
        """Only to those who were connected when it was wanted: for the others there is no promise of time."""
        since = self._wanted.get(mid)
        if since is not None and connected_since <= since:
            self._delivered.append(now - since)

    def latencies(self) -> dict[str, Any]:
        """Of the time since this was last asked, in seconds."""
        sent, self._sent = sorted(self._sent), []
        delivered, self._delivered = sorted(self._delivered), []
        return {"sent": _summary(sent), "delivered": _summary(delivered)}


def _summary(values: list[float]) -> dict[str, float]:
    if not values:
        return {"n": 0}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    last = len(values) - 1
    return {"n": len(values)} | {
        name: round(values[min(int(share * last + 0.5), last)], 4) for name, share in at.items()
    }
