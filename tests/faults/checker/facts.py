"""Everything a history says, gathered in one pass and in the order of time; the invariants are judged on it afterwards."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tests.faults import history as h
from tests.faults.checker.deletions import Deletions
from tests.faults.checker.lateness import Lateness
from tests.faults.checker.log import LONG_AGO, NEVER, Logs
from tests.faults.checker.payloads import Payloads
from tests.faults.checker.receipts import Receipts


class Device(msgspec.Struct):
    """One device: between which moments it was linked, and unlinked. An unlink of unknown outcome has no `unlinked_at`."""

    user: str
    adding_at: float
    added_at: float
    # The last time it came back with nothing left of what it had.
    reinstalled_at: float = LONG_AGO
    unlinking_at: float = NEVER
    unlinked_at: float = NEVER
    is_active: bool | None = None
    last_emptied_at: float = LONG_AGO
    last_emptied_socket_at: float = LONG_AGO

    @property
    def is_to_drain(self) -> bool:
        """Whether it is linked at the end, so that everything has to reach it."""
        if self.is_active is not None:
            return self.is_active
        return self.unlinking_at == NEVER


class View(msgspec.Struct):
    """What one device got and showed of one conversation, in the order it did. `former`: what its former installations showed.

    `confirmed`: own messages the device learnt the place of only after it had gone on, because the answer had been lost.
    """

    received: "array[int]" = msgspec.field(default_factory=lambda: array("q"))
    received_at: "array[float]" = msgspec.field(default_factory=lambda: array("d"))
    shown: "array[int]" = msgspec.field(default_factory=lambda: array("q"))
    former: "list[array[int]]" = []
    confirmed: set[int] = set()
    skipped: list[tuple[int, int]] = []
    excused: list[tuple[int, int]] = []


class Change(msgspec.Struct):
    """One change that was asked for."""

    invoked: h.ChangeInvoked
    answered: h.ChangeAnswered | None = None


# P10
RECOVERY_SECONDS = 60.0


class Fault(msgspec.Struct):
    """One fault, over when `off_at` is known."""

    on: h.FaultOn
    off_at: float = NEVER
    recovery: float | None = None

    @property
    def well_at(self) -> float:
        """When all was well again; where nobody has seen that, when it has to be."""
        return self.off_at + (RECOVERY_SECONDS if self.recovery is None else self.recovery)


class Answered(msgspec.Struct, frozen=True):
    """A call and how it ended: `at` is NEVER where it did not."""

    what: str
    invoked_at: float
    at: float
    outcome: str
    code: str


class Facts:
    """The gathered facts."""

    def __init__(self) -> None:
        self.began: h.Began | None = None
        self.logs = Logs()
        self.devices: dict[str, Device] = {}
        self.views: defaultdict[tuple[str, str], View] = defaultdict(View)
        self.changes: dict[str, Change] = {}
        self.created: dict[str, tuple[str, ...]] = {}
        self.calls: list[Answered] = []
        self.faults: dict[str, Fault] = {}
        self.sockets: dict[str, list[Any]] = {}
        self.http: list[h.HttpAnswered] = []
        self.measured: list[h.Measured] = []
        self.secrets: list[h.SecretFound | h.SecretsSearched] = []
        self.store: list[h.StoreSearched] = []
        self.stays: list[h.StayRow] = []
        self.dumped: h.Dumped | None = None
        self.failpoints: list[h.FailpointHit] = []
        self.receipts = Receipts()
        self.payloads = Payloads()
        self.deletions = Deletions()
        self.lateness = Lateness()
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.last_sent_at = LONG_AGO
        self._open_calls: dict[str, tuple[str, float]] = {}
        # When a user first asked for the link that is not known to be done yet: whoever asks again may have been heard the first time.
        self._linking: dict[str, float] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            h.Began: self._began,
            h.ChangeInvoked: self._change_invoked,
            h.ChangeAnswered: self._change_answered,
            h.SocketOpened: self._socket_opened,
            h.SocketClosed: self._socket_closed,
            h.QueueEmpty: self._queue_empty,
            h.SendInvoked: self._send_invoked,
            h.SendAnswered: self._send_answered,
            h.EnvelopeReceived: self._received,
            h.Acked: self._acked,
            h.Shown: self._shown,
            h.Skipped: self._skipped,
            h.ReadSaid: self.receipts.read_said,
            h.ReceiptHeard: self.receipts.heard,
            h.HistoryRead: self._history_read,
            h.HttpAnswered: self.http.append,
            h.FaultOn: self._fault_on,
            h.FaultOff: self._fault_off,
            h.FailpointHit: self.failpoints.append,
            h.Measured: self.measured.append,
            h.SecretsSearched: self.secrets.append,
            h.SecretFound: self.secrets.append,
            h.StoreSearched: self.store.append,
            h.LedgerRow: self.logs.keep,
            h.StayRow: self.stays.append,
            h.DeviceRow: self._device_row,
            h.Dumped: self._dumped,
        }

    def note(self, event: h.AnyEvent) -> None:
        self._handlers[type(event)](event)

    def finish(self) -> None:
        """The history has ended: calls without an answer have none."""
        for what, at in self._open_calls.values():
            self.calls.append(Answered(what, at, NEVER, "unknown", ""))

    def _began(self, event: h.Began) -> None:
        self.began = self.began or event

    # --- people and devices --------------------------------------------------------------------------------------------------------

    def _change_invoked(self, event: h.ChangeInvoked) -> None:
        self.changes[event.call] = Change(event)
        self._open_calls[event.call] = event.what, event.at
        if event.what == "link":
            self._linking.setdefault(event.by_user, event.at)
        if event.what == "unlink" and event.device in self.devices:
            device = self.devices[event.device]
            device.unlinking_at = min(device.unlinking_at, event.at)

    def _change_answered(self, event: h.ChangeAnswered) -> None:
        change = self.changes[event.call]
        change.answered = event
        self._close_call(event.call, event)
        asked = change.invoked
        if event.outcome == "ok" and event.device and asked.what in ("register", "link"):
            asked_at = self._linking.pop(asked.by_user, asked.at) if asked.what == "link" else asked.at
            self.devices.setdefault(event.device, Device(event.user, asked_at, event.at))
        if event.outcome == "refused" and self._linking.get(asked.by_user) == asked.at:
            del self._linking[asked.by_user]
        if event.outcome == "ok" and asked.what == "reinstall" and event.device in self.devices:
            self._begin_anew(event)
        if event.outcome == "ok" and asked.what == "create":
            self.created[event.conversation] = tuple(sorted({asked.by_user, *asked.users}))
        if asked.what == "unlink" and asked.device in self.devices:
            self._unlink_answered(self.devices[asked.device], asked.device, event.outcome)
            if event.outcome == "ok":
                self.devices[asked.device].unlinked_at = min(self.devices[asked.device].unlinked_at, event.at)

    def _begin_anew(self, event: h.ChangeAnswered) -> None:
        self.devices[event.device].reinstalled_at = event.at
        for (device_id, _), view in self.views.items():
            if device_id == event.device:
                view.former.append(view.shown)
                view.shown, view.confirmed, view.skipped, view.excused = array("q"), set(), [], []

    def _unlink_answered(self, device: Device, device_id: str, outcome: str) -> None:
        """A refused unlink was none, unless there is another one."""
        others = [
            change.invoked.at
            for change in self.changes.values()
            if change.invoked.device == device_id
            and change.invoked.what == "unlink"
            and (change.answered is None or change.answered.outcome != "refused")
        ]
        if outcome == "refused":
            device.unlinking_at = min(others, default=NEVER)

    def _device_row(self, event: h.DeviceRow) -> None:
        if event.device in self.devices:
            self.devices[event.device].is_active = event.active

    # --- sockets -------------------------------------------------------------------------------------------------------------------

    def _socket_opened(self, event: h.SocketOpened) -> None:
        self.sockets[event.socket] = [event.device, event.at, NEVER]
        self.lateness.opened(event)

    def _socket_closed(self, event: h.SocketClosed) -> None:
        if event.socket in self.sockets:
            self.sockets[event.socket][2] = event.at
        self.lateness.closed(event)

    def _queue_empty(self, event: h.QueueEmpty) -> None:
        device, socket = self.devices.get(event.device), self.sockets.get(event.socket)
        if device is not None and socket is not None:
            device.last_emptied_at = event.at
            device.last_emptied_socket_at = socket[1]

    # --- sends and deliveries ------------------------------------------------------------------------------------------------------

    def _send_invoked(self, event: h.SendInvoked) -> None:
        self.logs.invoke(event)
        self._open_calls[event.call] = "send", event.at
        self.counts["attempts"] += 1

    def _send_answered(self, event: h.SendAnswered) -> None:
        key = self.logs.call_of(event.call)
        self._close_call(event.call, event)
        self.logs.answer(event)
        self.last_sent_at = max(self.last_sent_at, event.at)
        if event.outcome == "ok" and key is not None:
            self.lateness.answered(key[1], event.seq, event.at)

    def _close_call(self, call: str, event: h.SendAnswered | h.ChangeAnswered) -> None:
        what, invoked_at = self._open_calls.pop(call)
        self.calls.append(Answered(what, invoked_at, event.at, event.outcome, event.code))

    def _received(self, event: h.EnvelopeReceived) -> None:
        view = self.views[event.device, event.conversation]
        if event.to_seq:
            view.excused.append((event.from_seq, event.to_seq))
            self.counts["excused"] += event.to_seq - event.from_seq + 1
            return
        self.counts["received"] += 1
        self.logs.receive(event)
        view.received.append(event.seq)
        view.received_at.append(event.at)
        self.payloads.received(event)
        self.deletions.received(event)
        self.lateness.received(event)

    def _history_read(self, event: h.HistoryRead) -> None:
        self.payloads.history_read(event)
        self.deletions.history_read(event)

    def _acked(self, event: h.Acked) -> None:
        self.receipts.acked(event)
        self.payloads.acked(event)
        self.lateness.acked(event)

    def _shown(self, event: h.Shown) -> None:
        view = self.views[event.device, event.conversation]
        if event.own and event.late and event.seq not in view.confirmed:
            # Written before what stands above it, and seen there all the time: the answer changes its mark, not its place.
            view.confirmed.add(event.seq)
        elif not (event.late and self._is_deleted(event)):
            view.shown.append(event.seq)
        self.counts["shown"] += 1

    def _is_deleted(self, event: h.Shown) -> bool:
        """Whoever asked for it was told that nothing is left of it, and went on; that it comes all the same is no disorder."""
        entry = self.logs.conversations.get(event.conversation, {}).get(event.seq)
        return entry is not None and (entry.sender_device, event.conversation, entry.mid) in self.logs.deleting

    def _skipped(self, event: h.Skipped) -> None:
        view = self.views[event.device, event.conversation]
        (view.excused if event.why == "gap" else view.skipped).append((event.from_seq, event.to_seq))

    # --- faults --------------------------------------------------------------------------------------------------------------------

    def _fault_on(self, event: h.FaultOn) -> None:
        self.faults[event.fault] = Fault(event)
        self.lateness.fault_on(event)

    def _fault_off(self, event: h.FaultOff) -> None:
        fault = self.faults[event.fault]
        fault.off_at, fault.recovery = event.at, event.recovery
        self.lateness.fault_off(event)

    def _dumped(self, event: h.Dumped) -> None:
        self.dumped = event


def gather(events: Iterable[h.AnyEvent]) -> Facts:
    """The facts of a history."""
    facts = Facts()
    for event in events:
        facts.note(event)
    facts.finish()
    return facts
