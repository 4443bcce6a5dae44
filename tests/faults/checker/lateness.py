"""P8 while nothing is wrong: a connected device that keeps up waits for no sweep (**late**).

Only what can be explained by nothing else is judged: the socket was open before the sender was told `sent`, no fault was on since a minute
before, the device had less than half a window of envelopes to acknowledge, and it waited longer than any machine of these tests is slow.
"""

from collections import defaultdict

from tests.faults import history as h
from tests.faults.checker.log import LONG_AGO, NEVER
from tests.faults.checker.verdicts import Verdict, Violation

LATE_SECONDS = 10.0
RECOVERY_SECONDS = 60.0
KEEPING_UP = 100


class Lateness:
    """Watches deliveries as they happen."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.delays: list[float] = []
        self._answered: dict[tuple[str, int], float] = {}
        self._opened: dict[str, float] = {}
        self._unacked: defaultdict[str, set[str]] = defaultdict(set)
        self._seen: defaultdict[str, set[int]] = defaultdict(set)
        self._on: set[str] = set()
        self._last_off = LONG_AGO

    def fault_on(self, event: h.FaultOn) -> None:
        self._on.add(event.fault)

    def fault_off(self, event: h.FaultOff) -> None:
        self._on.discard(event.fault)
        self._last_off = event.at

    def opened(self, event: h.SocketOpened) -> None:
        self._opened[event.socket] = event.at
        self._unacked[event.device].clear()

    def closed(self, event: h.SocketClosed) -> None:
        self._opened.pop(event.socket, None)

    def acked(self, event: h.Acked) -> None:
        self._unacked[event.device].difference_update(event.message_ids)

    def answered(self, conversation: str, seq: int, at: float) -> None:
        self._answered.setdefault((conversation, seq), at)

    def received(self, event: h.EnvelopeReceived) -> None:
        message_id = int(event.message_id)
        if message_id in self._seen[event.device]:
            return
        self._seen[event.device].add(message_id)
        answered_at = self._answered.get((event.conversation, event.seq))
        is_keeping_up = len(self._unacked[event.device]) < KEEPING_UP
        self._unacked[event.device].add(event.message_id)
        if answered_at is None or self._opened.get(event.socket, NEVER) > answered_at:
            return
        self.delays.append(event.at - answered_at)
        is_well = not self._on and answered_at > self._last_off + RECOVERY_SECONDS
        if event.at - answered_at > LATE_SECONDS and is_keeping_up and is_well:
            waited = f"{event.at - answered_at:.1f} s"
            self.violations.append(
                Violation(
                    Verdict.LATE,
                    f"device {event.device} waited {waited} for {event.conversation} {event.seq}",
                    event.at,
                )
            )
