"""Keys leave the client in the wire's form, and their signatures verify without the client's own libraries."""

import time
import uuid

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from waypost_client.keyring import POOL
from waypost_client.keys import fingerprint, link_statement, sign, verifies
from waypost_client.values import LinkedBy

from tests.clients.people import BOB, Phone

PRIME = 2**255 - 19


def edwards(identity_key: bytes) -> Ed25519PublicKey:
    """The Edwards key of a Montgomery one, sign bit 0: y = (u - 1) / (u + 1). RFC 7748, 4.1; XEdDSA, 2.3."""
    u = int.from_bytes(identity_key[1:], "little")
    y = (u - 1) * pow(u + 1, -1, PRIME) % PRIME
    return Ed25519PublicKey.from_public_bytes(y.to_bytes(32, "little"))


def test_public_keys_have_the_type_byte_and_32_bytes(alice: Phone) -> None:
    bundle = alice.bundle(with_last_resort=True)
    assert bundle.one_time_prekey
    assert bundle.last_resort_prekey
    for key in (bundle.identity_key, bundle.signed_prekey.public_key, bundle.one_time_prekey.public_key):
        assert len(key) == 33
        assert key[0] == 0x05


def test_the_identity_key_belongs_to_its_private_side(alice: Phone) -> None:
    private = X25519PrivateKey.from_private_bytes(alice.keyring.identity)
    assert alice.keyring.identity_key[1:] == private.public_key().public_bytes_raw()


def test_signatures_cover_the_33_bytes(alice: Phone) -> None:
    bundle = alice.bundle(with_last_resort=True)
    assert bundle.last_resort_prekey
    for signed in (bundle.signed_prekey, bundle.last_resort_prekey):
        edwards(bundle.identity_key).verify(signed.signature, signed.public_key)
        with pytest.raises(InvalidSignature):
            edwards(bundle.identity_key).verify(signed.signature, signed.public_key[1:])


def test_many_identities_sign_verifiably(alice: Phone) -> None:
    """Half of all identities have an Edwards key with the other sign; the signature must hold for both."""
    for _ in range(20):
        private = X25519PrivateKey.generate().private_bytes_raw()
        public = b"\x05" + X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        edwards(public).verify(sign(private, b"hello"), b"hello")
        assert verifies(public, b"hello", sign(private, b"hello"))
        assert not verifies(public, b"hullo", sign(private, b"hello"))


def test_a_malformed_key_or_signature_verifies_nothing(alice: Phone) -> None:
    assert not verifies(b"\x05" + bytes(31), b"hello", bytes(64))
    assert not verifies(b"\x08" + bytes(32), b"hello", bytes(64))
    assert not verifies(alice.keyring.identity_key, b"hello", bytes(63))


def test_a_hundred_one_time_prekeys_with_rising_ids(alice: Phone) -> None:
    with alice.state.transaction():
        first = alice.keyring.one_time_prekeys()
        repeated = alice.keyring.one_time_prekeys()
        alice.keyring.uploaded(first)
        second = alice.keyring.one_time_prekeys()
    assert len(first) == POOL
    assert repeated == first, "an upload without an answer is repeated with the same keys"
    ids = [key.key_id for key in first + second]
    assert ids == sorted(set(ids))


def test_the_last_resort_shares_no_id_with_a_one_time_prekey(alice: Phone) -> None:
    with alice.state.transaction():
        ids = {key.key_id for key in alice.keyring.one_time_prekeys()}
    assert alice.keyring.last_resort_prekey().key_id not in ids


def test_a_rotated_signed_prekey_is_the_one_handed_out(alice: Phone) -> None:
    before = alice.keyring.signed_prekey()
    with alice.state.transaction():
        alice.keyring.renew()
    after = alice.keyring.signed_prekey()
    assert after.key_id > before.key_id
    assert alice.keyring.find("signed", before.key_id), "what was sealed for it must still open"


def test_a_replaced_prekey_is_kept_for_sixty_days_after_it_was_replaced_however_old_it_is(
    alice: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """She was away for three months; all that time others were given the key of before."""
    day = 86400.0
    begun = time.time()
    with alice.state.transaction():
        alice.keyring.published()
    old, resort = alice.keyring.signed_prekey(), alice.keyring.last_resort_prekey()

    def renewed_after(days: float) -> None:
        monkeypatch.setattr(time, "time", lambda: begun + days * day)
        with alice.state.transaction():
            alice.keyring.renew()
            alice.keyring.published()

    renewed_after(90)
    renewed_after(149)
    assert alice.keyring.find("signed", old.key_id)
    assert alice.keyring.find("one_time", resort.key_id)
    renewed_after(151)
    assert alice.keyring.find("signed", old.key_id) is None
    assert alice.keyring.find("one_time", resort.key_id) is None
    assert alice.keyring.find("signed", old.key_id + 1), "it was replaced two days ago"


def test_a_prekey_that_others_do_not_have_yet_replaces_nothing(alice: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Her new key cannot be published for a long time: others go on with the old one."""
    begun = time.time()
    with alice.state.transaction():
        alice.keyring.published()
        old = alice.keyring.signed_prekey()
        alice.keyring.renew()
    monkeypatch.setattr(time, "time", lambda: begun + 100 * 86400.0)
    with alice.state.transaction():
        alice.keyring.published()
    assert alice.keyring.find("signed", old.key_id)


def test_the_fingerprint_is_eight_groups_of_four(alice: Phone) -> None:
    groups = fingerprint(alice.keyring.identity_key).split(" ")
    assert [len(group) for group in groups] == [4] * 8


def test_a_known_device_vouches_for_a_new_one(alice: Phone, bob: Phone) -> None:
    """Alice knows Bob's phone; his laptop comes with its signature, Mallory's with a signature by nobody she knows."""
    alice.receive(bob.seal(alice, "hello", 1, bundle=alice.bundle()))
    laptop = str(uuid.uuid4())
    bundle = alice.bundle()
    signature = sign(bob.keyring.identity, link_statement(BOB, bundle.identity_key, laptop))
    link = LinkedBy(device_id=bob.device_id, identity_key=bob.keyring.identity_key, signature=signature)
    vouched = msgspec.structs.replace(bundle, device_id="1009", device_uuid=laptop, linked_by=link)
    assert alice.peers.vouched(BOB, vouched)
    assert not alice.peers.vouched(BOB, msgspec.structs.replace(vouched, device_uuid=str(uuid.uuid4())))
    assert not alice.peers.vouched(BOB, bundle)
