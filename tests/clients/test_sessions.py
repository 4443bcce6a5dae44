"""Two devices talk, whatever gets lost, doubled, or started by both at once; every step survives a restart."""

import shutil
from pathlib import Path

import msgspec
import pytest
from waypost_client.errors import TextTooLong
from waypost_client.events import DeviceAdded, IdentityChanged, Kept, Message, Unreadable
from waypost_client.handshake import BadHandshake
from waypost_client.peers import Peer
from waypost_client.sessions import Reason
from waypost_client.values import Envelope

from tests.clients.people import ALICE, BOB, OTHER_CONVERSATION, Phone


def texts(events: list[Kept]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message)]


def reasons(events: list[Kept]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Unreadable)]


def first_byte(envelope: Envelope) -> int:
    assert envelope.ciphertext
    return envelope.ciphertext[0]


def test_the_first_byte_names_the_format(alice: Phone, bob: Phone) -> None:
    first = alice.seal(bob, "hello", 1, bundle=bob.bundle())
    assert first_byte(first) == 0x41
    bob.receive(first)
    assert first_byte(bob.seal(alice, "hi", 2)) == 0x42


def test_a_conversation_with_a_restart_after_every_step(alice: Phone, bob: Phone) -> None:
    envelope = alice.seal(bob, "0", 1, bundle=bob.bundle())
    for seq in range(1, 12):
        sender, reader = (alice, bob) if seq % 2 else (bob, alice)
        if seq > 1:
            envelope = sender.seal(reader, str(seq - 1), seq)
        sender = sender.restarted()
        sender.accepted(envelope)
        sender, reader = sender.restarted(), reader.restarted()
        assert texts(reader.receive(envelope)) == [str(seq - 1)]
        reader = reader.restarted()
        assert reader.told() == [], "what was seen is not told again"
        alice, bob = (sender, reader) if seq % 2 else (reader, sender)
    alice.state.close()
    bob.state.close()


def test_an_event_that_was_not_seen_is_told_after_a_restart(alice: Phone, bob: Phone) -> None:
    bob.inbox.receive([alice.seal(bob, "hello", 1, bundle=bob.bundle())], 0)
    bob = bob.restarted()
    assert texts(bob.told()) == ["hello"]
    bob.state.close()


def test_every_message_before_the_first_answer_can_start_the_session(alice: Phone, bob: Phone) -> None:
    """The first may be lost, or come last."""
    first = alice.seal(bob, "one", 1, bundle=bob.bundle())
    second, third = alice.seal(bob, "two", 2), alice.seal(bob, "three", 3)
    assert first_byte(third) == 0x41
    assert texts(bob.receive(third, second, first)) == ["one", "two", "three"]
    assert bob.sessions_with(alice) == 1


@pytest.mark.parametrize(
    "left", [{"with_last_resort": False}, {"with_last_resort": True}], ids=["nothing", "last resort"]
)
def test_an_empty_pool_does_not_keep_anyone_from_writing(alice: Phone, bob: Phone, left: dict[str, bool]) -> None:
    for seq in (1, 2):
        bundle = bob.bundle(with_prekey=False, **left)
        assert texts(bob.receive(alice.seal(bob, "hello", seq, bundle=bundle))) == ["hello"]


def test_a_one_time_prekey_is_gone_after_its_use(alice: Phone, bob: Phone) -> None:
    bundle = bob.bundle()
    assert bundle.one_time_prekey
    bob.receive(alice.seal(bob, "hello", 1, bundle=bundle))
    assert bob.keyring.find("one_time", bundle.one_time_prekey.key_id) is None
    assert reasons(bob.receive(alice.seal(bob, "again", 2, bundle=bundle))) == [Reason.NO_PREKEY]


def test_both_start_at_once_and_both_are_understood(alice: Phone, bob: Phone) -> None:
    from_alice = alice.seal(bob, "a1", 1, bundle=bob.bundle())
    from_bob = bob.seal(alice, "b2", 2, bundle=alice.bundle())
    alice.accepted(from_alice)
    bob.accepted(from_bob)
    assert texts(bob.receive(from_alice)) == ["a1"]
    assert texts(alice.receive(from_bob)) == ["b2"]
    for seq in range(3, 15, 2):
        alice, bob = alice.restarted(), bob.restarted()
        question, answer = alice.seal(bob, f"a{seq}", seq), bob.seal(alice, f"b{seq + 1}", seq + 1)
        alice.accepted(question)
        bob.accepted(answer)
        assert texts(bob.receive(question)) == [f"a{seq}"]
        assert texts(alice.receive(answer)) == [f"b{seq + 1}"]
    alice.state.close()
    bob.state.close()


def test_a_reinstalled_peer_is_told_and_understood(alice: Phone, bob: Phone, tmp_path: Path) -> None:
    bob.receive(alice.seal(bob, "hello", 1, bundle=bob.bundle()))
    reinstalled = Phone(tmp_path / "alice again", ALICE, alice.device_id)
    events = bob.receive(reinstalled.seal(bob, "it is me", 2, bundle=bob.bundle()))
    assert texts(events) == ["it is me"]
    assert [type(event) for event in events if not isinstance(event, Message)] == [IdentityChanged]
    answer = bob.seal(reinstalled, "is it?", 3)
    assert texts(reinstalled.receive(msgspec.structs.replace(answer, start=True))) == ["is it?"]
    reinstalled.state.close()


def test_a_known_person_with_a_new_device_is_told(alice: Phone, bob: Phone, tmp_path: Path) -> None:
    bob.receive(alice.seal(bob, "hello", 1, bundle=bob.bundle()))
    laptop = Phone(tmp_path / "laptop", ALICE, "1003")
    events = bob.receive(laptop.seal(bob, "from my laptop", 2, bundle=bob.bundle()))
    assert [event.vouched for event in events if isinstance(event, DeviceAdded)] == [False]
    assert texts(events) == ["from my laptop"]
    laptop.state.close()


def test_a_lost_session_is_told_and_started_anew(alice: Phone, bob: Phone, tmp_path: Path) -> None:
    """Bob's profile is set back to a copy from before the session; what Alice wrote meanwhile is lost, but not more."""
    bundle = bob.bundle()
    bob.state.close()
    shutil.copytree(bob.folder, tmp_path / "copy")
    bob = Phone(bob.folder, BOB, bob.device_id)
    bob.receive(alice.seal(bob, "hello", 1, bundle=bundle))
    answer = bob.seal(alice, "hi", 2)
    alice.receive(msgspec.structs.replace(answer, start=True))
    bob.state.close()

    restored = Phone(tmp_path / "copy", BOB, bob.device_id)
    with restored.state.transaction():
        restored.peers.meet(_peer(alice))
    unreadable = alice.seal(restored, "do you read me?", 3)
    alice.accepted(unreadable)
    assert reasons(restored.receive(msgspec.structs.replace(unreadable, start=True))) == [Reason.NO_SESSION]
    peer = restored.peers.get(alice.device_id)
    assert peer
    assert peer.wants_session
    reset = restored.seal(alice, "no", 4, bundle=alice.bundle())
    restored.accepted(reset)
    assert texts(alice.receive(reset)) == ["no"]
    assert texts(restored.receive(alice.seal(restored, "now?", 5))) == ["now?"]
    restored.state.close()


def test_a_ciphertext_moved_to_another_conversation_does_not_open(alice: Phone, bob: Phone) -> None:
    sealed = alice.seal(bob, "meet me there", 1, bundle=bob.bundle())
    moved = msgspec.structs.replace(sealed, conversation_id=OTHER_CONVERSATION, message_id="99")
    assert reasons(bob.receive(moved)) == [Reason.SEALED]
    assert texts(bob.receive(sealed)) == ["meet me there"], "the attempt left every session as it was"


def test_a_ciphertext_given_another_id_or_sender_does_not_open(alice: Phone, bob: Phone) -> None:
    sealed = alice.seal(bob, "hello", 1, bundle=bob.bundle())
    renamed = msgspec.structs.replace(sealed, client_message_id=str(OTHER_CONVERSATION), message_id="98")
    claimed = msgspec.structs.replace(sealed, sender_device_id="1666", message_id="99", seq=2)
    assert reasons(bob.receive(renamed, claimed)) == [Reason.SEALED, Reason.SEALED]


@pytest.mark.parametrize(
    "ciphertext", [b"\x00", b"\x41", b"\x42", b"\x42\x01", b"\x42\x01" + bytes(200), b"\x43\x01", b"A\x01" + bytes(300)]
)
def test_hostile_bytes_become_an_event_and_the_queue_moves_on(alice: Phone, bob: Phone, ciphertext: bytes) -> None:
    good = alice.seal(bob, "hello", 2, bundle=bob.bundle())
    bad = msgspec.structs.replace(
        good, seq=1, message_id="1", ciphertext=ciphertext, client_message_id=str(OTHER_CONVERSATION)
    )
    events = bob.receive(bad, good)
    assert isinstance(events[0], Unreadable)
    assert texts(events) == ["hello"]


def test_a_forged_signature_in_a_bundle_is_refused(alice: Phone, bob: Phone) -> None:
    bundle = bob.bundle()
    forged = msgspec.structs.replace(
        bundle, signed_prekey=msgspec.structs.replace(bundle.signed_prekey, signature=bytes(64))
    )
    with pytest.raises(BadHandshake):
        alice.seal(bob, "hello", 1, bundle=forged)
    assert alice.sessions_with(bob) == 0


def test_old_sessions_are_forgotten_after_ten(alice: Phone, bob: Phone) -> None:
    for seq in range(1, 15):
        bob.receive(alice.seal(bob, "hello", seq, bundle=bob.bundle()))
    assert bob.sessions_with(alice) == 10


def test_a_long_text_fits_and_a_longer_one_is_refused(alice: Phone, bob: Phone) -> None:
    long = "x" * 59_000
    sealed = alice.seal(bob, long, 1, bundle=bob.bundle())
    assert sealed.ciphertext
    assert len(sealed.ciphertext) < 64 * 1024
    assert texts(bob.receive(sealed)) == [long]
    with pytest.raises(TextTooLong):
        alice.seal(bob, "x" * 61_000, 2)


def test_the_length_of_a_short_text_does_not_show(alice: Phone, bob: Phone) -> None:
    alice.seal(bob, "one", 1, bundle=bob.bundle())
    lengths = {
        len(alice.seal(bob, text, seq).ciphertext or b"") for seq, text in enumerate(("yes", "no", "maybe"), start=2)
    }
    assert len(lengths) == 1


def _peer(phone: Phone) -> Peer:
    return Peer(phone.device_id, phone.user_id, phone.keyring.registration_id, phone.keyring.identity_key)
