"""What arrives is kept before it is acknowledged, told once and in order, and never holds up the rest."""

import sqlite3
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from waypost_client.errors import ProfileDamaged
from waypost_client.events import Message, Missing, SystemEvent
from waypost_client.ordering import PATIENCE
from waypost_client.values import Envelope, Resolved

from tests.clients.people import ALICE, BOB, CONVERSATION, Phone
from tests.clients.test_sessions import texts


def system(seq: int, message_id: str, **facts: Any) -> Envelope:
    return Envelope(
        message_id=message_id,
        conversation_id=CONVERSATION,
        seq=seq,
        kind="system",
        system=facts,
        sent_at=datetime.now(UTC),
    )


def test_a_message_is_told_once_however_often_it_comes(alice: Phone, bob: Phone) -> None:
    sealed = alice.seal(bob, "hello", 1, bundle=bob.bundle())
    assert texts(bob.receive(sealed, sealed)) == ["hello"]
    assert bob.receive(sealed) == []
    bob = bob.restarted()
    assert bob.receive(sealed) == []
    bob.state.close()


def test_the_same_message_under_another_message_id_is_not_told_again(alice: Phone, bob: Phone) -> None:
    sealed = alice.seal(bob, "hello", 1, bundle=bob.bundle())
    twin = msgspec.structs.replace(sealed, seq=2, message_id="77")
    following = alice.seal(bob, "next", 3)
    assert texts(bob.receive(sealed, twin, following)) == ["hello", "next"]


def test_held_back_messages_survive_a_restart(alice: Phone, bob: Phone) -> None:
    first, second, third = (
        alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2, 3)
    )
    assert bob.receive(first, third)[-1:] != []
    bob = bob.restarted()
    assert texts(bob.receive(second)) == ["2", "3"]
    bob.state.close()


def test_a_held_back_gap_is_asked_about_after_a_restart_too(alice: Phone, bob: Phone) -> None:
    first, _, third = (alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2, 3))
    bob.receive(first, third)
    bob = bob.restarted()
    assert bob.inbox.questions(PATIENCE) == [(CONVERSATION, 2, 2)]
    bob.state.close()


def test_an_answer_that_brings_the_envelope_closes_the_gap(alice: Phone, bob: Phone) -> None:
    first, second, third = (
        alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2, 3)
    )
    bob.receive(first, third)
    assert bob.inbox.questions(PATIENCE) == [(CONVERSATION, 2, 2)]
    kept = bob.inbox.answers(CONVERSATION, [Resolved(seq=2, state="committed", envelope=second)], PATIENCE)
    assert kept == [second.message_id]
    assert texts(bob.told()) == ["2", "3"]
    assert bob.receive(second) == [], "its mailbox copy is a duplicate"


def test_an_unavailable_message_is_told_as_missing(alice: Phone, bob: Phone) -> None:
    envelopes = [alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in range(1, 6)]
    bob.receive(envelopes[0], envelopes[4])
    bob.inbox.questions(PATIENCE)
    answer = [
        Resolved(seq=2, state="unavailable"),
        Resolved(seq=3, state="unavailable"),
        Resolved(seq=4, state="not_for_you"),
    ]
    bob.inbox.answers(CONVERSATION, answer, PATIENCE)
    missing, message = bob.told()
    assert missing == Missing(conversation_id=CONVERSATION, from_seq=2, to_seq=3)
    assert isinstance(message, Message)


def test_who_has_left_still_gets_what_was_said_before_in_its_order(alice: Phone, bob: Phone) -> None:
    """However often the server was asked: a former member is told to wait until a new connection has brought everything."""
    first, second, third = (
        alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2, 3)
    )
    assert texts(bob.receive(first, third)) == ["1"]
    for second_of_day in range(300):
        if bob.inbox.questions(float(second_of_day)):
            bob.inbox.answers(CONVERSATION, [Resolved(seq=2, state="committed")], float(second_of_day))
    assert bob.inbox.asked_enough(CONVERSATION)
    assert texts(bob.receive(second)) == ["2", "3"]
    assert not bob.inbox.asked_enough(CONVERSATION)


def test_a_message_the_server_emptied_does_not_hold_up_the_queue_for_ever(alice: Phone, bob: Phone) -> None:
    """It was acknowledged once, but this profile has lost it: a copy from before that, for example."""
    first, second, third = (
        alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2, 3)
    )
    bob.receive(first, third)
    emptied = msgspec.structs.replace(second, ciphertext=None)
    for second_of_day in range(120):
        if bob.inbox.questions(float(second_of_day)):
            bob.inbox.answers(
                CONVERSATION, [Resolved(seq=2, state="committed", envelope=emptied)], float(second_of_day)
            )
    missing, message = bob.told()
    assert isinstance(missing, Missing)
    assert isinstance(message, Message)


def test_a_committed_message_without_its_envelope_is_awaited(alice: Phone, bob: Phone) -> None:
    first, second, third = (
        alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2, 3)
    )
    bob.receive(first, third)
    for second_of_day in range(600):
        if bob.inbox.questions(float(second_of_day)):
            bob.inbox.answers(CONVERSATION, [Resolved(seq=2, state="committed")], float(second_of_day))
    assert bob.told() == []
    assert texts(bob.receive(second)) == ["2", "3"]


def test_what_comes_after_its_place_was_passed_is_told_as_late(alice: Phone, bob: Phone) -> None:
    first, second, third = (
        alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2, 3)
    )
    bob.receive(first, third)
    bob.inbox.questions(PATIENCE)
    bob.inbox.answers(CONVERSATION, [Resolved(seq=2, state="not_for_you")], PATIENCE)
    bob.told()
    (late,) = bob.receive(second)
    assert isinstance(late, Message)
    assert late.late


def test_own_sends_are_in_the_history_but_not_told(alice: Phone, bob: Phone) -> None:
    sealed = alice.seal(bob, "hello", 1, bundle=bob.bundle())
    alice.accepted(sealed, "hello")
    assert alice.told() == []
    bob.receive(sealed)
    answer = bob.seal(alice, "hi", 2)
    alice.receive(answer)
    assert [
        event.text for event in alice.inbox.history(CONVERSATION, before=None, limit=9) if isinstance(event, Message)
    ] == [
        "hello",
        "hi",
    ]
    assert [
        event.text for event in alice.inbox.history(CONVERSATION, before=2, limit=9) if isinstance(event, Message)
    ] == ["hello"]


def test_system_events_are_told_in_their_place(bob: Phone) -> None:
    bob.inbox.receive([system(1, "1", event="conversation_created", actor_user_id=ALICE, user_ids=[BOB])], 0)
    (created,) = bob.told()
    assert isinstance(created, SystemEvent)
    assert (created.event, created.actor_user_id, created.details) == (
        "conversation_created",
        ALICE,
        {"user_ids": [BOB]},
    )


def test_a_gap_event_passes_its_range_and_is_told(alice: Phone, bob: Phone) -> None:
    first, *_, last = (alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in range(1, 6))
    events = bob.receive(first, system(4, "4", event="gap", from_seq=2, to_seq=4), last)
    assert texts(events) == ["1", "5"]
    assert [event.event for event in events if isinstance(event, SystemEvent)] == ["gap"]


@pytest.mark.parametrize("kind", ["key_distribution", "something new"])
def test_a_kind_this_client_does_not_know_fills_its_place_silently(alice: Phone, bob: Phone, kind: str) -> None:
    first, second = (alice.seal(bob, str(seq), seq, bundle=bob.bundle() if seq == 1 else None) for seq in (1, 2))
    assert texts(bob.receive(msgspec.structs.replace(first, kind=kind, message_id="5"), second)) == ["2"]


def test_when_the_disk_refuses_nothing_has_happened(alice: Phone, bob: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither text nor ratchet nor prekey may move without the others: the same envelope must open afterwards."""
    sealed = alice.seal(bob, "hello", 1, bundle=bob.bundle())
    bob.state.db.execute("PRAGMA query_only = ON")
    with pytest.raises(ProfileDamaged):
        bob.inbox.receive([sealed], 0)
    bob.state.db.execute("PRAGMA query_only = OFF")
    assert texts(bob.receive(sealed)) == ["hello"]


def test_the_profile_is_for_its_owner_alone(bob: Phone) -> None:
    with bob.state.transaction():
        bob.state.remember(anything=1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in bob.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert bob.folder.stat().st_mode & 0o777 == 0o700


def test_two_processes_of_one_profile_see_each_others_ratchet_steps(alice: Phone, bob: Phone) -> None:
    """`send` beside a running `listen`: both open the same file, and neither may reuse the other's keys."""
    alice.seal(bob, "1", 1, bundle=(bundle := bob.bundle()))
    beside = Phone(alice.folder, alice.user_id, alice.device_id)
    assert bundle
    sealed = [phone.seal(bob, str(seq), seq) for seq, phone in enumerate((alice, beside, alice, beside), start=2)]
    assert texts(
        bob.receive(*(msgspec.structs.replace(envelope, start=envelope.seq == 2) for envelope in sealed))
    ) == list("2345")
    beside.state.close()


def test_the_file_is_sqlite_in_wal_with_full_sync(bob: Phone) -> None:
    assert isinstance(bob.state.db, sqlite3.Connection)
    assert bob.state.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert bob.state.db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_facts_come_back_as_they_were(bob: Phone) -> None:
    facts = {
        "phone": "+66812345678",
        "device_id": "1002",
        "token": "1e5",
        "offset": 0.25,
        "count": 7,
        "key": b"\x00\x01",
    }
    bob.state.remember(**facts)
    assert {name: bob.state.fact(name) for name in facts} == facts
