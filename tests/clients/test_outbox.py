"""What is to be said survives a kill: queued once, sealed once, sent under one id."""

import uuid

from waypost_client.outbox import Copy, Failure, Outbox
from waypost_client.values import Sent

from tests.clients.people import CONVERSATION, NOON, OTHER_CONVERSATION, Phone

FIRST, SECOND, THIRD = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
COPIES = (Copy("1002", 377, b"\x41sealed"), Copy("1003", 12, b"\x42sealed"))


def test_a_queued_message_survives_a_restart(alice: Phone) -> None:
    Outbox(alice.state).put(CONVERSATION, FIRST, "hello", NOON)
    alice = alice.restarted()
    queued = Outbox(alice.state).first(CONVERSATION)
    assert queued
    assert (queued.client_message_id, queued.text, queued.written_at, queued.copies) == (FIRST, "hello", NOON, None)
    alice.state.close()


def test_a_sealed_message_is_sent_again_byte_for_byte(alice: Phone) -> None:
    outbox = Outbox(alice.state)
    outbox.put(CONVERSATION, FIRST, "hello", NOON)
    queued = outbox.first(CONVERSATION)
    assert queued
    with alice.state.transaction():
        outbox.keep_sealed(queued, COPIES)
    alice = alice.restarted()
    again = Outbox(alice.state).first(CONVERSATION)
    assert again
    assert again.fields() == {
        "client_message_id": FIRST,
        "kind": "message",
        "messages": [
            {"device_id": "1002", "registration_id": 377, "ciphertext": b"\x41sealed"},
            {"device_id": "1003", "registration_id": 12, "ciphertext": b"\x42sealed"},
        ],
    }
    alice.state.close()


def test_each_conversation_has_a_queue_of_its_own_in_order(alice: Phone) -> None:
    outbox = Outbox(alice.state)
    for conversation_id, client_message_id in (
        (CONVERSATION, FIRST),
        (OTHER_CONVERSATION, SECOND),
        (CONVERSATION, THIRD),
    ):
        outbox.put(conversation_id, client_message_id, "hello", NOON)
    assert outbox.conversations() == [CONVERSATION, OTHER_CONVERSATION]
    first = outbox.first(CONVERSATION)
    assert first
    with alice.state.transaction():
        outbox.answer(first, Failure("NOT_FOUND", "Nothing is there."))
    following = outbox.first(CONVERSATION)
    assert following
    assert following.client_message_id == THIRD, "a message refused for good lets the next pass"


def test_an_answer_is_collected_once_by_whoever_queued_it(alice: Phone) -> None:
    """Also by another process: `send` beside a running `listen`."""
    beside = Phone(alice.folder, alice.user_id, alice.device_id)
    number = Outbox(beside.state).put(CONVERSATION, FIRST, "hello", NOON)
    assert Outbox(beside.state).collect(number) is None
    outbox = Outbox(alice.state)
    queued = outbox.first(CONVERSATION)
    assert queued
    sent = Sent(conversation_id=CONVERSATION, client_message_id=FIRST, message_id="7", seq=1, sent_at=NOON)
    with alice.state.transaction():
        outbox.answer(queued, sent)
    assert outbox.first(CONVERSATION) is None
    assert Outbox(beside.state).collect(number) == sent
    assert Outbox(beside.state).collect(number) is None
    beside.state.close()


def test_a_refusal_is_collected_as_one(alice: Phone) -> None:
    outbox = Outbox(alice.state)
    number = outbox.put(CONVERSATION, FIRST, "hello", NOON)
    queued = outbox.first(CONVERSATION)
    assert queued
    with alice.state.transaction():
        outbox.answer(queued, Failure("FORBIDDEN", "Blocked."))
    assert outbox.collect(number) == Failure("FORBIDDEN", "Blocked.")


def test_answers_nobody_came_for_are_forgotten_after_a_day(alice: Phone) -> None:
    outbox = Outbox(alice.state)
    number = outbox.put(CONVERSATION, FIRST, "hello", NOON)
    waiting = outbox.put(CONVERSATION, SECOND, "still waiting", NOON)
    queued = outbox.first(CONVERSATION)
    assert queued
    with alice.state.transaction():
        outbox.answer(queued, Failure("FORBIDDEN", "Blocked."))
    outbox.tidy()
    assert outbox.collect(number) is None
    left = outbox.first(CONVERSATION)
    assert left
    assert left.number == waiting, "what was not answered is never forgotten"
