"""What one device sends in one conversation: pipelined, in order, the same id until there is a definite answer.

No network and no clock of its own. While something has to be repeated nothing new is sent; once every open attempt has its answer, all that is left goes
out again in its old order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.faults.history import AnyEvent, SendAnswered, SendInvoked

# Not the server's last word. "gone" is a call over HTTP that got no answer, INVALID_TOKEN one whose token had just ended.
AGAIN = frozenset(
    {
        "RETRY_IN_ORDER",
        "RATE_LIMITED",
        "STORAGE_UNAVAILABLE",
        "SOURCE_READ_ONLY",
        "MISMATCHED_DEVICES",
        "STALE_DEVICES",
        "INVALID_TOKEN",
        "gone",
    }
)
WRONG_DEVICES = frozenset({"MISMATCHED_DEVICES", "STALE_DEVICES"})
# After these it is not known whether the message is stored.
AMBIGUOUS = frozenset({"STORAGE_UNAVAILABLE", "gone", "timeout"})
CORRECTIONS_AT_ONCE = 8
SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
GAVE_UP = "gave_up"
Refusal = dict[str, Any]


@dataclass(slots=True)
class Outgoing:
    """A message until its definite answer. `call` is that of the open attempt, "" while there is none. `deletes`: mid and message_id of another one."""

    mid: str
    number: int
    digest: str
    wanted_at: float
    over_http: bool = False
    expires_in: int = 0
    deletes: tuple[str, str] | None = None
    call: str = ""
    tried_at: float = 0.0
    tries: int = 0


class Door(Protocol):
    """The device as a chain sees it."""

    user_id: str
    device_id: str

    def post(self, conversation: str, outgoing: Outgoing) -> bool:
        """Put an attempt on its way. False when there is no connection; then nothing was sent."""

    def correct(self, conversation: str, refusal: Refusal) -> None:
        """The list of devices was wrong: mend it, and call `Chain.corrected`."""


@dataclass(slots=True)
class Chain:
    """`record` writes the history; `new_call` names attempts; `accepted` hears of every committed message, `over` of every one that left the chain."""

    conversation: str
    door: Door
    record: Callable[[AnyEvent], None]
    new_call: Callable[[], str]
    accepted: Callable[[Outgoing, int, str, bool], None]
    refused: Callable[[Outgoing, Refusal], None]
    width: int = 1
    give_up: float = 180.0
    waiting: list[Outgoing] = field(default_factory=list)
    retrying: bool = False
    correcting: bool = False
    pause_until: float = 0.0
    pauses: int = 0

    @property
    def open(self) -> list[Outgoing]:
        """Attempts without an answer."""
        return [item for item in self.waiting if item.call]

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < self.width

    def want(self, outgoing: Outgoing, now: float) -> None:
        """Send this behind everything that is still waiting."""
        self.waiting.append(outgoing)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Send what may be sent now."""
        self._give_up(now)
        if self.correcting or now < self.pause_until or (self.retrying and self.open):
            return
        self.retrying = False
        for item in self.waiting:
            if not item.call and not (self._may_go(item) and self._try(item, now)):
                return

    def answered(self, call: str, answer: Refusal, now: float) -> None:
        """`sent`, or `error` with its facts. An answer to an attempt that has ended already changes nothing."""
        item = self._of(call)
        if item is None:
            return
        item.call = ""
        code = "" if answer["type"] == "sent" else str(answer.get("error_code", ""))
        if not code:
            self._accept(item, call, answer)
        elif code in AGAIN:
            self._again(item, call, code, answer, now)
        else:
            self._refuse(item, call, code, answer)
        self.pump(now)

    def corrected(self, now: float) -> None:
        """The list of devices is as the server said."""
        self.correcting = False
        self.pump(now)

    def lost(self, code: str = "gone") -> None:
        """No answer will come to what went over the socket: it goes again, in order, on the next connection."""
        for item in self.open:
            if not item.over_http:
                self._end(item.call, "unknown", code)
                item.call = ""
                self.retrying = True

    def abandon(self) -> None:
        """Nobody waits for anything any more."""
        for item in self.open:
            self._end(item.call, "unknown", "gone")
        self.waiting.clear()

    def overdue(self, before: float) -> bool:
        """Whether an attempt was begun before this moment and has no answer."""
        return any(item.tried_at < before for item in self.open)

    def _of(self, call: str) -> Outgoing | None:
        return next((item for item in self.waiting if call and item.call == call), None)

    def _may_go(self, item: Outgoing) -> bool:
        """What goes over HTTP goes alone: the two roads keep no order between them."""
        alone = not self.open
        return alone if item.over_http else alone or not any(other.over_http for other in self.open)

    def _try(self, item: Outgoing, now: float) -> bool:
        item.call, item.tried_at = self.new_call(), now
        event = SendInvoked(
            call=item.call,
            user=self.door.user_id,
            device=self.door.device_id,
            conversation=self.conversation,
            mid=item.mid,
            number=item.number,
            digest=item.digest,
            expires_in=item.expires_in,
            deletes=item.deletes[0] if item.deletes else "",
        )
        if not self.door.post(self.conversation, item):
            item.call = ""
            return False
        item.tries += 1
        self.record(event)
        return True

    def _accept(self, item: Outgoing, call: str, sent: Refusal) -> None:
        seq, message_id, duplicate = int(sent["seq"]), str(sent["message_id"]), bool(sent.get("duplicate"))
        self.record(SendAnswered(call=call, outcome="ok", seq=seq, message_id=message_id, duplicate=duplicate))
        self.waiting.remove(item)
        self.pauses = 0
        self.accepted(item, seq, message_id, duplicate)

    def _again(self, item: Outgoing, call: str, code: str, answer: Refusal, now: float) -> None:
        self._end(call, "unknown" if code in AMBIGUOUS else "refused", code)
        self.retrying = True
        if code in WRONG_DEVICES:
            self.pauses += 1
            if self.pauses > CORRECTIONS_AT_ONCE:
                self._pause(answer, now)
            if not self.correcting:
                self.correcting = True
                self.door.correct(self.conversation, answer)
        elif code != "RETRY_IN_ORDER":
            self._pause(answer, now)

    def _pause(self, answer: Refusal, now: float) -> None:
        advised = float(answer.get("retry_after_ms", 0)) / 1000
        self.pauses += 1
        self.pause_until = now + max(advised, min(SHORTEST_PAUSE * 2**self.pauses, LONGEST_PAUSE))

    def _refuse(self, item: Outgoing, call: str, code: str, answer: Refusal) -> None:
        self._end(call, "refused", code)
        self.waiting.remove(item)
        self.refused(item, answer)

    def _end(self, call: str, outcome: Any, code: str) -> None:
        self.record(SendAnswered(call=call, outcome=outcome, code=code))

    def _give_up(self, now: float) -> None:
        """What was never answered within the time is left alone, from the front: nothing may be left out in the middle."""
        while self.waiting and not self.waiting[0].call and now - self.waiting[0].wanted_at > self.give_up:
            item = self.waiting.pop(0)
            self.refused(item, {"error_code": GAVE_UP})
