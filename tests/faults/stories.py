"""Made-up histories: people whose server keeps every promise, event by event. What a test then takes away or adds is a broken promise.

story = Story()
friends = story.group("alice-phone", "bob")
story.send("alice-phone", friends)
story.finish()
judge(story.events)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from tests.faults.history import (
    Acked,
    AnyEvent,
    Began,
    ChangeAnswered,
    ChangeInvoked,
    ChangeKind,
    DeviceRow,
    Dumped,
    EnvelopeReceived,
    LedgerRow,
    Outcome,
    QueueEmpty,
    ReadSaid,
    ReceiptHeard,
    SendAnswered,
    SendInvoked,
    Shown,
    SocketClosed,
    SocketOpened,
    StayRow,
)


@dataclass
class Person:
    """A user."""

    name: str
    read: dict[str, int] = field(default_factory=dict)


@dataclass
class Gadget:
    """One device, its socket while it has one, and what waits for it."""

    id: str
    user: str
    socket: str = ""
    is_active: bool = True
    waiting: list[EnvelopeReceived] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass
class Talk:
    """One conversation as its server knows it."""

    id: str
    members: dict[str, int]
    started: set[str] = field(default_factory=set)
    log: list[LedgerRow] = field(default_factory=list)
    stays: list[StayRow] = field(default_factory=list)


class Story:
    """Events in the order of a clock that moves a centisecond with each."""

    def __init__(self, seed: int = 0) -> None:
        self.events: list[AnyEvent] = []
        self.devices: dict[str, Gadget] = {}
        self.talks: dict[str, Talk] = {}
        self.people: dict[str, Person] = {}
        self.now = 1000.0
        self._made = 0
        self.tell(lambda at: Began(at=at, seed=seed))

    def tell(self, event: Callable[[float], AnyEvent]) -> None:
        """Write the event that this makes of the time."""
        self.now = round(self.now + 0.01, 2)
        self.events.append(event(self.now))

    def wait(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 2)

    def new(self, word: str) -> str:
        self._made += 1
        return f"{word}{self._made}"

    # --- people ----------------------------------------------------------------------------------------------------------------------

    def register(self, device: str, user: str, *, what: Literal["register", "link"] = "register") -> None:
        """The device signs in, and connects."""
        call = self.ask(what)
        self.people.setdefault(user, Person(user))
        self.devices[device] = Gadget(device, user)
        self.tell(lambda at: ChangeAnswered(at=at, call=call, outcome="ok", user=user, device=device))
        self.connect(device)

    def reinstall(self, device: str) -> None:
        """The device comes back with nothing, and nothing of what waited for it."""
        gadget = self.devices[device]
        self.disconnect(device)
        call = self.ask("reinstall", device=device)
        gadget.waiting.clear()
        for talk in self.talks.values():
            talk.started.discard(device)
        self.tell(lambda at: ChangeAnswered(at=at, call=call, outcome="ok", user=gadget.user, device=device))
        self.connect(device)

    def unlink(self, device: str, by: str) -> None:
        call = self.ask("unlink", by=by, device=device)
        gadget = self.devices[device]
        gadget.is_active = False
        self.answer(call)
        self.disconnect(device, code=4401)

    def ask(
        self, what: ChangeKind, *, by: str = "", talk: str = "", users: Iterable[str] = (), device: str = ""
    ) -> str:
        """Invoke a change. Its call."""
        call = self.new("call")
        user = self.devices[by].user if by else ""
        self.tell(
            lambda at: ChangeInvoked(
                at=at,
                call=call,
                what=what,
                by_user=user,
                by_device=by,
                conversation=talk,
                users=tuple(users),
                device=device,
            )
        )
        return call

    def answer(self, call: str, outcome: Outcome = "ok", talk: str = "") -> None:
        self.tell(lambda at: ChangeAnswered(at=at, call=call, outcome=outcome, conversation=talk))

    # --- conversations ---------------------------------------------------------------------------------------------------------------

    def group(self, by: str, *users: str) -> str:
        """A group of the device's user and these."""
        talk = self.new("talk")
        founder = self.devices[by].user
        call = self.ask("create", by=by, users=users)
        self.talks[talk] = Talk(talk, dict.fromkeys(sorted({founder, *users}), 1))
        self._system(talk, "conversation_created", users=tuple(self.talks[talk].members))
        self.answer(call, talk=talk)
        return talk

    def direct(self, by: str, user: str) -> str:
        """A direct conversation nobody has said anything in."""
        talk = self.new("talk")
        call = self.ask("create", by=by, users=[user])
        self.talks[talk] = Talk(talk, dict.fromkeys((self.devices[by].user, user), 1))
        self.answer(call, talk=talk)
        return talk

    def add(self, by: str, talk: str, user: str) -> None:
        call = self.ask("add", by=by, talk=talk, users=[user])
        self._device_changes(talk)
        self.talks[talk].members[user] = len(self.talks[talk].log) + 1
        self._system(talk, "member_added", user=user)
        self.answer(call)

    def remove(self, by: str, talk: str, user: str) -> None:
        call = self.ask("remove", by=by, talk=talk, users=[user])
        self._device_changes(talk)
        self._system(talk, "member_removed", user=user)
        of = self.talks[talk]
        of.started -= {device.id for device in self.devices.values() if device.user == user}
        stay = StayRow(conversation=talk, user=user, joined_seq=of.members.pop(user), left_seq=len(of.log))
        of.stays.append(stay)
        self.people[user].read.pop(talk, None)
        self.answer(call)

    def _device_changes(self, talk: str) -> None:
        of = self.talks[talk]
        # Decided before any is told: being told of one starts every device.
        linked = [device for device in self.audience(talk) if of.log and device.id not in of.started]
        for device in [self.devices[key] for key in sorted(of.started) if not self.devices[key].is_active]:
            of.started.discard(device.id)
            self._system(talk, "device_unlinked", user=device.user, device=device.id)
        for device in linked:
            self._system(talk, "device_linked", user=device.user, device=device.id)

    def audience(self, talk: str) -> list[Gadget]:
        """Active devices of members."""
        members = self.talks[talk].members
        return [device for device in self.devices.values() if device.is_active and device.user in members]

    def _system(self, talk: str, event: str, *, user: str = "", device: str = "", users: tuple[str, ...] = ()) -> None:
        row = self._commit(talk, self.new("mid"), "0", "system")
        for to in self.audience(talk):
            self.talks[talk].started.add(to.id)
            to.waiting.append(
                self._envelope(to, row, system=event, subject_user=user, subject_device=device, users=users)
            )

    def _commit(self, talk: str, mid: str, sender: str, kind: str) -> LedgerRow:
        log = self.talks[talk].log
        row = LedgerRow(
            conversation=talk,
            seq=len(log) + 1,
            message_id=str(7000 + self._made),
            mid=mid,
            sender_device=sender,
            kind=kind,
        )
        self._made += 1
        log.append(row)
        return row

    def _envelope(self, to: Gadget, row: LedgerRow, **fields: object) -> EnvelopeReceived:
        return EnvelopeReceived(
            device=to.id,
            socket="",
            conversation=row.conversation,
            seq=row.seq,
            message_id=row.message_id,
            mid=row.mid,
            kind=row.kind,
            **fields,  # type: ignore[arg-type]
        )

    # --- sends -----------------------------------------------------------------------------------------------------------------------

    def send(self, device: str, talk: str, *attempts: Outcome) -> None:
        """Send a message: attempts that end so (by default one, `ok`). The first that is not refused commits it."""
        gadget = self.devices[device]
        number = gadget.numbers[talk] = gadget.numbers.get(talk, 0) + 1
        mid, row = self.new("mid"), None
        for outcome in attempts or ("ok",):
            call = self.new("call")
            self.tell(
                lambda at, call=call: SendInvoked(  # type: ignore[misc]
                    at=at,
                    call=call,
                    user=gadget.user,
                    device=device,
                    conversation=talk,
                    mid=mid,
                    number=number,
                    digest=f"digest of {mid}",
                )
            )
            is_known = row is not None
            if outcome != "refused":
                row = row or self._store(gadget, talk, mid)
            self._answer_send(call, outcome, row, is_known=is_known)
        if row is not None and (attempts or ("ok",))[-1] == "ok":
            self._show(gadget, row, own=True)

    def _store(self, gadget: Gadget, talk: str, mid: str) -> LedgerRow:
        self._device_changes(talk)
        row = self._commit(talk, mid, gadget.id, "message")
        for to in self.audience(talk):
            self.talks[talk].started.add(to.id)
            if to is not gadget:
                to.waiting.append(
                    self._envelope(
                        to,
                        row,
                        sender_user=gadget.user,
                        sender_device=gadget.id,
                        digest=f"digest of {mid}",
                        addressed=to.id,
                    )
                )
        return row

    def _answer_send(self, call: str, outcome: Outcome, row: LedgerRow | None, *, is_known: bool) -> None:
        if outcome != "ok" or row is None:
            code = "STORAGE_UNAVAILABLE" if outcome == "unknown" else "MISMATCHED_DEVICES"
            self.tell(lambda at: SendAnswered(at=at, call=call, outcome=outcome, code=code))
            return
        self.tell(
            lambda at: SendAnswered(
                at=at, call=call, outcome="ok", seq=row.seq, message_id=row.message_id, duplicate=is_known
            )
        )

    # --- deliveries ------------------------------------------------------------------------------------------------------------------

    def connect(self, device: str) -> None:
        gadget = self.devices[device]
        gadget.socket = self.new("socket")
        self.tell(lambda at: SocketOpened(at=at, device=device, socket=gadget.socket))

    def disconnect(self, device: str, code: int | None = None) -> None:
        gadget = self.devices[device]
        if gadget.socket:
            self.tell(lambda at: SocketClosed(at=at, device=device, socket=gadget.socket, code=code))
            gadget.socket = ""

    def deliver(self, device: str, most: int = 1000) -> None:
        """Bring a connected device what waits for it: it acknowledges and shows it, its own messages in between."""
        gadget = self.devices[device]
        for _ in range(most):
            if not (gadget.socket and gadget.waiting):
                return
            self._receive(gadget, gadget.waiting.pop(0))

    def _receive(self, gadget: Gadget, envelope: EnvelopeReceived) -> None:
        self.tell(lambda at: replace(envelope, at=at, socket=gadget.socket))
        self.tell(lambda at: Acked(at=at, device=gadget.id, socket=gadget.socket, message_ids=(envelope.message_id,)))
        row = self.talks[envelope.conversation].log[envelope.seq - 1]
        self._show(gadget, row)
        sender = self.devices.get(row.sender_device)
        if sender is not None and sender.socket and sender.user != gadget.user:
            self._receipt(sender, gadget, row, "delivered")

    def _show(self, gadget: Gadget, row: LedgerRow, *, own: bool = False) -> None:
        """In its place: an own message waits for what is before it."""
        if own:
            self.deliver_up_to(gadget, row)
        self.tell(
            lambda at: Shown(
                at=at,
                device=gadget.id,
                conversation=row.conversation,
                seq=row.seq,
                message_id=row.message_id,
                mid=row.mid,
                own=own,
            )
        )

    def deliver_up_to(self, gadget: Gadget, row: LedgerRow) -> None:
        """Bring the device what comes before an entry of its own."""
        before = [one for one in gadget.waiting if one.conversation == row.conversation and one.seq < row.seq]
        for envelope in before:
            gadget.waiting.remove(envelope)
            self._receive(gadget, envelope)

    def _receipt(self, sender: Gadget, by: Gadget, row: LedgerRow, what: Literal["delivered", "read"]) -> None:
        self.tell(
            lambda at: ReceiptHeard(
                at=at,
                device=sender.id,
                socket=sender.socket,
                what=what,
                conversation=row.conversation,
                seq=row.seq,
                message_id=row.message_id,
                by_user=by.user,
                by_device=by.id,
            )
        )

    def read(self, device: str, talk: str) -> None:
        """The device's user has read all it was shown; who sent something hears of it."""
        gadget, of = self.devices[device], self.talks[talk]
        shown = [
            event.seq
            for event in self.events
            if isinstance(event, Shown) and (event.device, event.conversation) == (device, talk)
        ]
        if not shown or max(shown) <= self.people[gadget.user].read.get(talk, 0):
            return
        self.people[gadget.user].read[talk] = max(shown)
        self.tell(lambda at: ReadSaid(at=at, user=gadget.user, device=device, conversation=talk, seq=max(shown)))
        row = of.log[max(shown) - 1]
        sender = self.devices.get(row.sender_device)
        if sender is not None and sender.socket and sender.user != gadget.user:
            self._receipt(sender, gadget, row, "read")

    # --- the end ---------------------------------------------------------------------------------------------------------------------

    def finish(self) -> list[AnyEvent]:
        """Everybody drains, and PostgreSQL is dumped."""
        for device in self.devices.values():
            if device.is_active:
                self.disconnect(device.id)
                self.connect(device.id)
                self.deliver(device.id)
                self.tell(lambda at, one=device: QueueEmpty(at=at, device=one.id, socket=one.socket))  # type: ignore[misc]
        for talk in self.talks.values():
            for row in talk.log:
                self.tell(lambda at, row=row: replace(row, at=at))  # type: ignore[misc]
            for stay in [*talk.stays, *self._open_stays(talk)]:
                self.tell(lambda at, stay=stay: replace(stay, at=at))  # type: ignore[misc]
        for device in self.devices.values():
            self.tell(
                lambda at, one=device: DeviceRow(at=at, device=one.id, user=one.user, active=one.is_active)  # type: ignore[misc]
            )
        self.tell(lambda at: Dumped(at=at, backlog=0, watermark_reached=True))
        return self.events

    def _open_stays(self, talk: Talk) -> list[StayRow]:
        return [
            StayRow(
                conversation=talk.id, user=user, joined_seq=joined, last_read_seq=self.people[user].read.get(talk.id, 0)
            )
            for user, joined in talk.members.items()
        ]
