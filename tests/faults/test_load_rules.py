"""The client rules as the load keeps them: what it sends again and when, what it shows and when."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.history import AnyEvent, SendAnswered, SendInvoked, Shown, Skipped
from tests.faults.load import payload
from tests.faults.load.chain import Chain, Outgoing
from tests.faults.load.inbox import Inbox
from tests.faults.load.payload import Payload

TALK = "c0ffee00-0000-4000-8000-000000000000"
Frame = dict[str, Any]


@dataclass
class Phone:
    """Alice's phone, whose socket is a list of what was sent."""

    user_id: str = "alice"
    device_id: str = "1"
    is_connected: bool = True
    sent: list[str] = field(default_factory=list)
    corrections: list[Frame] = field(default_factory=list)

    def post(self, _conversation: str, outgoing: Outgoing) -> bool:
        if self.is_connected:
            self.sent.append(outgoing.mid)
        return self.is_connected

    def correct(self, _conversation: str, refusal: Frame) -> None:
        self.corrections.append(refusal)


@dataclass
class Chat:
    """A chain with its phone, its history and its clock."""

    chain: Chain
    phone: Phone
    events: list[AnyEvent]
    over: list[tuple[str, str]]
    now: float = 100.0

    def want(self, *mids: str, over_http: bool = False) -> None:
        for mid in mids:
            number = sum(isinstance(event, SendInvoked) for event in self.events) + 1
            self.chain.want(Outgoing(mid, number, mid, self.now, over_http=over_http), self.now)

    def answer(self, mid: str, code: str = "", seq: int = 1, **facts: Any) -> None:
        """What the server says to the open attempt of this message."""
        [call] = [item.call for item in self.chain.waiting if item.mid == mid]
        frame: Frame = {"type": "sent", "seq": seq, "message_id": "9"}
        self.chain.answered(call, {"type": "error", "error_code": code, **facts} if code else frame, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.chain.pump(self.now)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(event.outcome, event.code) for event in self.events if isinstance(event, SendAnswered)]


@pytest.fixture
def chat() -> Chat:
    phone, events, over, calls = Phone(), list[AnyEvent](), list[tuple[str, str]](), itertools.count(1)
    chain = Chain(
        TALK,
        phone,
        record=events.append,
        new_call=lambda: f"call{next(calls)}",
        accepted=lambda item, seq, _id, _duplicate: over.append((item.mid, f"seq {seq}")),
        refused=lambda item, answer: over.append((item.mid, str(answer["error_code"]))),
        width=5,
    )
    return Chat(chain, phone, events, over)


# --- sending ---------------------------------------------------------------------------------------------------------------------


def test_sends_are_pipelined(chat: Chat) -> None:
    chat.want("m1", "m2", "m3")
    assert chat.phone.sent == ["m1", "m2", "m3"]


def test_behind_a_failed_send_everything_goes_again_in_its_old_order(chat: Chat) -> None:
    chat.want("m1", "m2", "m3")
    chat.phone.sent.clear()
    chat.answer("m1", "STORAGE_UNAVAILABLE", retry_after_ms=1000)
    chat.answer("m2", "RETRY_IN_ORDER")
    chat.want("m4")
    assert chat.phone.sent == [], "m3 has no answer yet, and the server wants a pause"
    chat.answer("m3", "RETRY_IN_ORDER")
    chat.wait(0.9)
    assert chat.phone.sent == []
    chat.wait(0.2)
    assert chat.phone.sent == ["m1", "m2", "m3", "m4"]


def test_a_send_without_answer_goes_again_under_its_id_after_a_reconnect(chat: Chat) -> None:
    chat.want("m1", "m2")
    chat.phone.is_connected = False
    chat.chain.lost()
    chat.wait(1)
    chat.phone.is_connected = True
    chat.wait(1)
    assert chat.phone.sent == ["m1", "m2", "m1", "m2"]
    assert chat.outcomes == [("unknown", "gone"), ("unknown", "gone")]


def test_an_answer_to_an_attempt_that_was_given_up_changes_nothing(chat: Chat) -> None:
    chat.want("m1")
    old = chat.chain.waiting[0].call
    chat.chain.lost()
    chat.wait(1)
    chat.chain.answered(old, {"type": "error", "error_code": "NOT_FOUND"}, chat.now)
    assert chat.over == []


def test_wrong_devices_are_corrected_before_the_same_id_goes_again(chat: Chat) -> None:
    chat.want("m1", "m2")
    chat.phone.sent.clear()
    refusal: Frame = {"missing": [{"user_id": "bob", "device_id": "2"}], "extra": []}
    chat.answer("m1", "MISMATCHED_DEVICES", **refusal)
    chat.answer("m2", "RETRY_IN_ORDER")
    chat.wait(5)
    assert chat.phone.sent == []
    assert [(one["missing"], one["extra"]) for one in chat.phone.corrections] == [(refusal["missing"], [])]
    chat.chain.corrected(chat.now)
    assert chat.phone.sent == ["m1", "m2"]
    assert chat.outcomes == [("refused", "MISMATCHED_DEVICES"), ("refused", "RETRY_IN_ORDER")]


def test_behind_a_refusal_for_good_the_next_goes_on(chat: Chat) -> None:
    chat.want("m1", "m2")
    chat.answer("m1", "NOT_FOUND")
    chat.answer("m2", seq=7)
    assert chat.over == [("m1", "NOT_FOUND"), ("m2", "seq 7")]
    assert chat.phone.sent == ["m1", "m2"]


def test_after_three_minutes_a_send_is_given_up_and_the_next_goes_on(chat: Chat) -> None:
    chat.want("m1")
    chat.chain.lost()
    chat.phone.is_connected = False
    chat.wait(170)
    chat.want("m2")
    chat.phone.is_connected = True
    chat.wait(11)
    assert chat.over == [("m1", "gave_up")]
    assert chat.phone.sent == ["m1", "m2"]


def test_what_goes_over_http_goes_alone(chat: Chat) -> None:
    chat.want("m1")
    chat.want("m2", over_http=True)
    chat.want("m3")
    assert chat.phone.sent == ["m1"]
    chat.answer("m1")
    assert chat.phone.sent == ["m1", "m2"]
    chat.chain.lost()
    assert [item.mid for item in chat.chain.open] == ["m2"], "the socket's end is not the end of a call"
    chat.answer("m2", seq=2)
    assert chat.phone.sent == ["m1", "m2", "m3"]


# --- receiving -------------------------------------------------------------------------------------------------------------------


class Reader:
    """Bob's phone: an inbox with its history."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.inbox = Inbox("2", self.events.append, lambda *_: None)
        self.now = 0.0

    def get(self, *seqs: int, start: bool = False, kind: str = "message", **system: Any) -> None:
        for seq in seqs:
            mid = f"m{seq}"
            envelope: Frame = {
                "conversation_id": TALK,
                "message_id": str(seq),
                "seq": seq,
                "kind": kind,
                "start": start,
            }
            envelope |= {"client_message_id": mid, "sender_user_id": "alice", "sender_device_id": "1"}
            if system:
                envelope["system"] = system
            raw = payload.pack("mark", "1", TALK, mid, seq, "2", size=0)
            self.inbox.receive(envelope, raw, "s1", self.now)

    @property
    def shown(self) -> Iterator[int]:
        return (event.seq for event in self.events if isinstance(event, Shown))

    @property
    def late(self) -> list[int]:
        return [event.seq for event in self.events if isinstance(event, Shown) and event.late]

    @property
    def skipped(self) -> list[tuple[int, int, str]]:
        return [(event.from_seq, event.to_seq, event.why) for event in self.events if isinstance(event, Skipped)]


@pytest.fixture
def bob() -> Reader:
    return Reader()


def test_what_overtakes_is_held_back_and_shown_once(bob: Reader) -> None:
    bob.get(1, 3, 3, 2, 2, 1)
    assert list(bob.shown) == [1, 2, 3]
    assert bob.inbox.waits() == []


def test_an_own_send_fills_its_place(bob: Reader) -> None:
    bob.get(1, 3)
    bob.inbox.sent(TALK, 2, "2", "own", "digest", bob.now)
    assert list(bob.shown) == [1, 2, 3]


def test_a_gap_is_asked_about_after_five_seconds_and_skipped_as_the_server_says(bob: Reader) -> None:
    bob.get(1, 4)
    assert bob.inbox.questions(bob.now + 4.9) == []
    assert bob.inbox.questions(bob.now + 5) == [(TALK, 2, 3)]
    states = ("not_for_you", "unavailable")
    bob.inbox.answer(TALK, [{"seq": 2 + at, "state": state} for at, state in enumerate(states)], bob.now + 5)
    assert list(bob.shown) == [1, 4]
    assert bob.skipped == [(2, 2, "not_for_you"), (3, 3, "unavailable")]


def test_what_is_committed_is_waited_for(bob: Reader) -> None:
    bob.get(1, 3)
    bob.inbox.answer(TALK, [{"seq": 2, "state": "committed"}], bob.now + 5)
    assert list(bob.shown) == [1]
    bob.get(2)
    assert list(bob.shown) == [1, 2, 3]


def test_what_comes_after_it_was_skipped_is_shown_late_and_once(bob: Reader) -> None:
    bob.get(1, 3)
    bob.inbox.answer(TALK, [{"seq": 2, "state": "unavailable"}], bob.now + 5)
    bob.get(2, 2)
    assert list(bob.shown) == [1, 3, 2]
    assert bob.late == [2]


def test_start_is_the_base_of_a_new_device(bob: Reader) -> None:
    bob.get(7, start=True)
    bob.get(8)
    assert list(bob.shown) == [7, 8]


def test_a_gap_row_covers_what_is_missing(bob: Reader) -> None:
    bob.get(1, 5)
    bob.get(4, kind="system", event="gap", from_seq=2, to_seq=4)
    assert list(bob.shown) == [1, 4, 5]
    assert bob.skipped == [(2, 3, "gap")]


# --- payloads --------------------------------------------------------------------------------------------------------------------


def test_a_copy_names_its_message_and_its_device() -> None:
    ours, theirs = (payload.pack("mark", "1", TALK, "m1", 1, device, size=200) for device in ("2", "3"))
    digest = payload.digest_of("mark", "1", TALK, "m1", 1)
    assert len(ours) == 200
    assert payload.unpack(ours) == Payload(digest, "2")
    assert payload.unpack(theirs) == Payload(digest, "3")


@pytest.mark.parametrize("raw", [None, b"", b"something else", b"a|b|c|d|e|f|g|", b"\xff" * 40])
def test_what_is_none_of_ours_has_no_digest(raw: bytes | None) -> None:
    assert payload.unpack(raw).digest == ""


def test_a_mended_copy_does_not_pass() -> None:
    raw = payload.pack("mark", "1", TALK, "m1", 1, "2", size=0).replace(b"|m1|", b"|m2|")
    assert payload.unpack(raw) == Payload("", "2")
