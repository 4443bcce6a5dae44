"""The log of each conversation as everybody saw it: envelopes, answers, and the ledger's dump. Who disagrees is noted."""

from collections.abc import Iterator

import msgspec

from tests.faults.checker.verdicts import Verdict, Violation
from tests.faults.history import EnvelopeReceived, LedgerRow, SendAnswered, SendInvoked

NEVER = float("inf")
LONG_AGO = float("-inf")
SERVER = "0"

Key = tuple[str, str, str]
"""A message: (sender device, conversation, mid)."""


class Entry(msgspec.Struct):
    """One place in a log. `seen_at` is the first proof that it is committed."""

    message_id: str
    mid: str
    sender_device: str
    kind: str = ""
    seen_at: float = NEVER
    answered_at: float = NEVER
    system: str = ""
    subject_user: str = ""
    subject_device: str = ""
    users: tuple[str, ...] = ()
    in_ledger: bool = False
    received: bool = False


class Message(msgspec.Struct):
    """One message as its sender tried to send it."""

    user: str
    number: int
    digest: str
    invoked_at: float
    expires_in: int = 0
    deletes: str = ""
    open_calls: int = 0
    answered_at: float = NEVER
    seq: int = 0
    is_sent: bool = False
    is_refused: bool = False
    is_unknown: bool = False


class Logs:
    """All conversations' logs, and all messages."""

    def __init__(self) -> None:
        self.conversations: dict[str, dict[int, Entry]] = {}
        self.messages: dict[Key, Message] = {}
        self.places: dict[Key, int] = {}
        self.doubles: dict[Key, set[int]] = {}
        # What somebody wants deleted, and since when; and since when that is answered.
        self.deleting: dict[Key, float] = {}
        self.deleted: dict[Key, float] = {}
        self.contradictions: list[Violation] = []
        self._calls: dict[str, Key] = {}
        self._ids: dict[str, tuple[str, int]] = {}

    def invoke(self, event: SendInvoked) -> None:
        key = (event.device, event.conversation, event.mid)
        self._calls[event.call] = key
        message = self.messages.get(key)
        if message is None:
            message = self.messages[key] = Message(
                event.user, event.number, event.digest, event.at, event.expires_in, event.deletes
            )
            if event.deletes:
                self.deleting.setdefault((event.device, event.conversation, event.deletes), event.at)
        elif (message.number, message.digest) != (event.number, event.digest):
            self._contradict(f"{name(key)} was sent with another number or digest: the client's fault", event.at)
        message.open_calls += 1

    def answer(self, event: SendAnswered) -> None:
        key = self._calls.pop(event.call)
        message = self.messages[key]
        message.open_calls -= 1
        message.is_refused |= event.outcome == "refused"
        message.is_unknown |= event.outcome == "unknown"
        if event.outcome == "ok":
            message.is_sent = True
            message.seq = message.seq or event.seq
            message.answered_at = min(message.answered_at, event.at)
            entry = self._place(key, event.seq, event.message_id, event.at, "an answer")
            entry.answered_at = min(entry.answered_at, event.at)
            if message.deletes:
                self.deleted.setdefault((key[0], key[1], message.deletes), event.at)

    def receive(self, event: EnvelopeReceived) -> Entry:
        sender = SERVER if event.kind == "system" else event.sender_device
        key = (sender, event.conversation, event.mid)
        entry = self._place(key, event.seq, event.message_id, event.at, f"device {event.device}")
        entry.received = True
        if not entry.kind:
            entry.kind, entry.system = event.kind, event.system
            entry.subject_user, entry.subject_device, entry.users = (
                event.subject_user,
                event.subject_device,
                event.users,
            )
        elif (entry.kind, entry.system, entry.subject_user, entry.subject_device) != (
            event.kind,
            event.system,
            event.subject_user,
            event.subject_device,
        ):
            self._contradict(f"{event.conversation} {event.seq} is something else for device {event.device}", event.at)
        return entry

    def keep(self, row: LedgerRow) -> None:
        sender = SERVER if row.kind == "system" else row.sender_device
        entry = self._place((sender, row.conversation, row.mid), row.seq, row.message_id, NEVER, "the ledger")
        entry.in_ledger = True

    def call_of(self, call: str) -> Key | None:
        """The message of a call that has no answer yet."""
        return self._calls.get(call)

    def entries(self) -> Iterator[tuple[str, int, Entry]]:
        for conversation, entries in self.conversations.items():
            for seq, entry in entries.items():
                yield conversation, seq, entry

    def _place(self, key: Key, seq: int, message_id: str, at: float, where: str) -> Entry:
        sender, conversation, mid = key
        entries = self.conversations.setdefault(conversation, {})
        entry = entries.get(seq)
        if entry is None:
            entry = entries[seq] = Entry(message_id, mid, sender)
        elif (entry.message_id, entry.mid, entry.sender_device) != (message_id, mid, sender):
            self._contradict(f"{conversation} {seq} is another message according to {where}", at)
        entry.seen_at = min(entry.seen_at, at)
        if self.places.setdefault(key, seq) != seq and seq not in self.doubles.setdefault(key, {self.places[key]}):
            self.doubles[key].add(seq)
            self._contradict(f"{name(key)} has seq {self.places[key]}, and {seq} according to {where}", at)
        if self._ids.setdefault(message_id, (conversation, seq)) != (conversation, seq):
            self._contradict(f"message_id {message_id} is given twice, according to {where}", at)
        return entry

    def _contradict(self, what: str, at: float) -> None:
        self.contradictions.append(Violation(Verdict.DIVERGED, what, at if at != NEVER else None))


def name(key: Key) -> str:
    """A message in a report."""
    return f"message {key[2]} of device {key[0]} in {key[1]}"
