"""What one device has received, and what it shows: the reference client's ordering (`waypost_client.ordering.Lane`) is what decides.

Only the record of what was shown is kept, not the contents: a seq below the next one was shown, unless it was skipped.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from waypost_client.ordering import SKIPPED, Lane, Verdict

from tests.faults.broken.no_hold_back import holds_back
from tests.faults.history import AnyEvent, EnvelopeReceived, Shown, Skipped
from tests.faults.load import payload

Frame = dict[str, Any]
Why = Literal["not_for_you", "unavailable", "gap"]


class Held(NamedTuple):
    """What is known of a seq that is not shown yet."""

    message_id: str
    mid: str
    digest: str
    own: bool


@dataclass(slots=True)
class Place:
    """A conversation as one device sees it.

    `skipped` may still come, late; `early` were shown out of their turn; `why` is what the server said of seqs to skip.
    """

    lane: Lane = field(default_factory=Lane)
    base: int | None = None
    held: dict[int, Held] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)
    early: set[int] = field(default_factory=set)
    why: dict[int, Why] = field(default_factory=dict)


class Inbox:
    """All conversations of a device. `record` writes the history; `shown` hears of each new seq."""

    def __init__(
        self, device_id: str, record: Callable[[AnyEvent], None], shown: Callable[[str, int, str], None]
    ) -> None:
        self._device_id = device_id
        self._record = record
        self._shown = shown
        self._places: dict[str, Place] = {}
        # One of the broken builds is of the client.
        self._holds_back = holds_back()

    def receive(self, frame: Frame, content: bytes | None, socket: str, now: float) -> bool:
        """An envelope, however often it comes; to be acknowledged afterwards. Whether it was new."""
        conversation, seq = str(frame["conversation_id"]), int(frame["seq"])
        place = self._place(conversation)
        seen = payload.unpack(content) if frame["kind"] == "message" else payload.Payload("", "")
        self._record(_received(frame, seen, self._device_id, socket))
        is_new = self._is_new(place, seq)
        if is_new:
            held = Held(str(frame["message_id"]), str(frame.get("client_message_id", "")), seen.digest, own=False)
            self._keep(conversation, place, seq, held)
        before = place.lane.next_seq
        released = self._cover(place, frame, now)
        released += place.lane.arrive(seq, now, start=bool(frame.get("start")))
        self._show(conversation, place, before, released)
        return is_new

    def sent(self, conversation: str, seq: int, message_id: str, mid: str, digest: str, now: float) -> None:
        """An own message got its place."""
        place = self._place(conversation)
        if not self._is_new(place, seq):
            return
        self._keep(conversation, place, seq, Held(message_id, mid, digest, own=True))
        before = place.lane.next_seq
        self._show(conversation, place, before, place.lane.fill(seq, now))

    def questions(self, now: float, *, at_once: bool = False) -> list[tuple[str, int, int]]:
        """Gaps to ask the server about now."""
        asked = [(name, place.lane.question(now, at_once=at_once)) for name, place in self._places.items()]
        return [(name, *gap) for name, gap in asked if gap is not None]

    def answer(self, conversation: str, items: Iterable[Frame], now: float) -> None:
        """What the server said of a gap; envelopes that came with it are received before."""
        place = self._place(conversation)
        verdicts = {int(item["seq"]): _verdict(item, place.lane) for item in items}
        place.why |= {seq: _why(verdict) for seq, verdict in verdicts.items() if verdict in SKIPPED}
        before = place.lane.next_seq
        self._show(conversation, place, before, place.lane.answer(verdicts, now))

    def waits(self) -> list[tuple[str, int, int]]:
        """Where something that came is held back: conversation, the next seq, how many."""
        return [(name, place.lane.next_seq or 0, len(place.held)) for name, place in self._places.items() if place.held]

    def asked_enough(self, conversation: str) -> bool:
        return self._place(conversation).lane.asked_enough

    def next_seq(self, conversation: str) -> int | None:
        place = self._places.get(conversation)
        return None if place is None else place.lane.next_seq

    def _place(self, conversation: str) -> Place:
        return self._places.setdefault(conversation, Place())

    def _keep(self, conversation: str, place: Place, seq: int, held: Held) -> None:
        if self._holds_back:
            place.held[seq] = held
        else:
            place.early.add(seq)
            self._tell(conversation, place, seq, held, late=False)

    def _is_new(self, place: Place, seq: int) -> bool:
        if seq in place.held or seq in place.early:
            return False
        if place.lane.next_seq is None or seq >= place.lane.next_seq or seq in place.skipped:
            return True
        return place.base is not None and seq < place.base

    def _cover(self, place: Place, frame: Frame, now: float) -> list[int]:
        system = frame.get("system") or {}
        if system.get("event") != "gap":
            return []
        first, last = int(system["from_seq"]), int(system["to_seq"])
        place.why |= dict.fromkeys(range(first, last + 1), "gap")
        return place.lane.cover(first, last, now)

    def _show(self, conversation: str, place: Place, before: int | None, released: list[int]) -> None:
        after = place.lane.next_seq
        if after is not None and place.base is None:
            before = place.base = min([*released, after])
        for seq in sorted(set(released)):
            if (held := place.held.pop(seq, None)) is not None:
                self._tell(conversation, place, seq, held, late=before is None or seq < before)
        if after is not None and before is not None and after > before:
            self._note_skipped(conversation, place, set(range(before, after)) - set(released))

    def _tell(self, conversation: str, place: Place, seq: int, held: Held, *, late: bool) -> None:
        if late:
            place.skipped.discard(seq)
            place.early.add(seq)
        self._record(
            Shown(
                device=self._device_id,
                conversation=conversation,
                seq=seq,
                message_id=held.message_id,
                mid=held.mid,
                digest=held.digest,
                own=held.own,
                late=late,
            )
        )
        self._shown(conversation, seq, held.message_id)

    def _note_skipped(self, conversation: str, place: Place, seqs: set[int]) -> None:
        place.skipped |= seqs
        for first, last, why in _runs(sorted(seqs), place.why):
            self._record(
                Skipped(device=self._device_id, conversation=conversation, from_seq=first, to_seq=last, why=why)
            )
        for seq in seqs:
            place.why.pop(seq, None)


def _received(frame: Frame, seen: payload.Payload, device_id: str, socket: str) -> EnvelopeReceived:
    system = frame.get("system") or {}
    return EnvelopeReceived(
        device=device_id,
        socket=socket,
        conversation=str(frame["conversation_id"]),
        seq=int(frame["seq"]),
        message_id=str(frame["message_id"]),
        mid=str(frame.get("client_message_id", "")),
        kind=str(frame["kind"]),
        sender_user=str(frame.get("sender_user_id") or ""),
        sender_device=str(frame.get("sender_device_id") or ""),
        digest=seen.digest,
        addressed=seen.addressed,
        deleted=bool(frame.get("deleted")),
        start=bool(frame.get("start")),
        system=str(system.get("event", "")),
        subject_user=str(system.get("user_id") or ""),
        subject_device=str(system.get("device_id") or ""),
        users=tuple(system.get("user_ids") or ()),
        from_seq=int(system.get("from_seq", 0)),
        to_seq=int(system.get("to_seq", 0)),
    )


def has_content(envelope: Frame) -> bool:
    """Whether an envelope that came with a resolution is one to show: the server empties what is acknowledged."""
    return bool(envelope.get("ciphertext") or envelope.get("shared") or envelope.get("system"))


def _verdict(item: Frame, lane: Lane) -> Verdict:
    """As the reference client's inbox has it: a committed but emptied seq is waited for, though not for ever."""
    envelope: Frame | None = item.get("envelope")
    emptied = envelope is not None and not has_content(envelope)
    if emptied and envelope is not None and envelope.get("deleted"):
        return Verdict.EMPTY
    if item["state"] in (Verdict.NOT_FOR_YOU, Verdict.UNAVAILABLE):
        return Verdict(item["state"])
    if not emptied:
        return Verdict.COMMITTED
    return Verdict.UNAVAILABLE if lane.asked_enough else Verdict.COMMITTED


def _why(verdict: Verdict) -> Why:
    return "not_for_you" if verdict is Verdict.NOT_FOR_YOU else "unavailable"


def _runs(seqs: list[int], why: dict[int, Why]) -> list[tuple[int, int, Why]]:
    runs: list[tuple[int, int, Why]] = []
    for seq in seqs:
        said = why.get(seq, "not_for_you")
        if runs and runs[-1][1] == seq - 1 and runs[-1][2] == said:
            runs[-1] = (runs[-1][0], seq, said)
        else:
            runs.append((seq, seq, said))
    return runs
