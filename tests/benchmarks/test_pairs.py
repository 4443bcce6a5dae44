"""The load generator has to notice what a server may do wrong: Alice sends, Bob receives, and the server between them errs."""

import time
import uuid
from collections.abc import Iterable

import msgspec
import pytest

from accounts.ids import uuid7_ms
from benchmarks.events import Pair, Party
from benchmarks.pairs import MSGPACK, Codec, Counters, LoadedPair, client_message_id, number_of
from benchmarks.websocket import BINARY, ClientSocket

ALICE, BOB = Party("1", 11, "token"), Party("2", 22, "token")


class Wire(ClientSocket):
    """A socket whose other end is the test."""

    def __init__(self) -> None:
        super().__init__(b"", BINARY, lambda _: None, lambda _: None)
        self.sent: list[dict[str, object]] = []

    def send(self, payloads: Iterable[bytes]) -> None:
        self.sent += [msgspec.msgpack.decode(payload) for payload in payloads]


class Stage:
    """A pair under load, and a server that says whatever the test wants."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.counters = Counters()
        conversation = Pair(str(uuid.uuid4()), ALICE, BOB)
        self.pair = LoadedPair(conversation, Codec(MSGPACK), self.counters, size=16, fail=self.faults.append)
        self.alice, self.bob = Wire(), Wire()
        self.pair.sender, self.pair.recipient = self.alice, self.bob

    def tells_alice(self, number: int, seq: int, *, duplicate: bool = False) -> None:
        answer = {"type": "sent", "seq": seq, "duplicate": duplicate, **self._named(number)}
        self.pair.sender_got([msgspec.msgpack.encode(answer)])

    def tells_bob(self, *messages: tuple[int, int]) -> None:
        frames = [{"type": "envelope", "seq": seq, **self._named(number)} for number, seq in messages]
        self.pair.recipient_got([msgspec.msgpack.encode(frame) for frame in frames])

    def _named(self, number: int) -> dict[str, object]:
        return {"client_message_id": self.alice.sent[number - 1]["client_message_id"], "message_id": str(100 + number)}


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.pair.start(3)
    return stage


def test_as_many_sends_are_under_way_as_were_asked_for(stage: Stage) -> None:
    assert len(stage.alice.sent) == 3

    stage.tells_alice(1, 1)
    assert len(stage.alice.sent) == 4

    stage.pair.stop()
    stage.tells_alice(2, 2)
    assert len(stage.alice.sent) == 4


def test_what_arrives_together_is_acknowledged_together(stage: Stage) -> None:
    stage.tells_bob((1, 1), (2, 2))

    assert stage.bob.sent == [{"type": "ack", "message_ids": ["101", "102"]}]
    assert stage.counters.delivered == 2
    assert stage.faults == []


def test_a_message_that_has_not_arrived_is_missing(stage: Stage) -> None:
    stage.pair.stop()
    for number in (1, 2, 3):
        stage.tells_alice(number, number)
    stage.tells_bob((1, 1), (2, 2))

    assert (stage.pair.missing, stage.pair.is_quiet) == (1, False)

    stage.tells_bob((3, 3))
    assert (stage.pair.missing, stage.pair.is_quiet) == (0, True)


def test_a_message_delivered_twice_is_a_fault(stage: Stage) -> None:
    stage.tells_bob((1, 1), (1, 1))

    assert stage.faults == ["a message was delivered twice"]


def test_an_envelope_that_comes_early_is_held_back_and_counted(stage: Stage) -> None:
    stage.tells_bob((2, 2), (1, 1), (3, 3))

    assert stage.counters.early == 1
    assert stage.faults == []


def test_another_order_than_that_of_sending_is_a_fault(stage: Stage) -> None:
    stage.tells_bob((2, 1), (1, 2))

    assert "messages were delivered in another order than they were sent in" in stage.faults


def test_different_places_for_sender_and_recipient_are_a_fault(stage: Stage) -> None:
    stage.tells_alice(1, 1)
    stage.tells_bob((1, 2))

    assert stage.faults == ["sender and recipient were told different places of one message"]


@pytest.mark.parametrize("again", [False, True])
def test_a_send_that_is_answered_as_a_duplicate_is_a_fault(stage: Stage, *, again: bool) -> None:
    if again:
        stage.tells_alice(1, 1)
    stage.tells_alice(1, 1, duplicate=not again)

    assert stage.faults == ["a send was answered twice"]


def test_a_refusal_is_a_fault_and_is_named(stage: Stage) -> None:
    stage.pair.sender_got([msgspec.msgpack.encode({"type": "error", "error_code": "RATE_LIMITED"})])

    assert stage.faults == ["the sender got error RATE_LIMITED"]


def test_the_number_of_a_send_is_in_its_id_which_is_a_uuid_of_now() -> None:
    identifier = client_message_id("abcdef", 4711)

    assert number_of(identifier) == 4711
    assert abs((uuid7_ms(uuid.UUID(identifier)) or 0) - time.time_ns() // 1_000_000) < 5000
