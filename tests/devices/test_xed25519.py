"""Signatures in both forms that are about: the paper's, and libsignal's with the sign bit in the signature."""

import pytest
import xeddsa

from devices import xed25519
from tests.cast import Keys

P = 2**255 - 19


def signed_like_libsignal(keys: Keys, message: bytes) -> bytes:
    """libsignal keeps the key as it is and says in the signature which of the two Edwards keys it belongs to."""
    signature = bytearray(xeddsa.ed25519_priv_sign(keys.private, message))
    signature[63] |= xeddsa.priv_to_ed25519_pub(keys.private)[31] & 0x80
    return bytes(signature)


def keys_with_sign(sign: int) -> Keys:
    while True:
        keys = Keys()
        if xeddsa.priv_to_ed25519_pub(keys.private)[31] & 0x80 == sign:
            return keys


@pytest.mark.parametrize("sign", [0x00, 0x80])
def test_both_forms_are_accepted_whatever_the_sign(sign: int) -> None:
    for _ in range(20):
        keys = keys_with_sign(sign)
        u, message = keys.identity_key[1:], b"a prekey"
        assert xed25519.verify(u, message, keys.sign(message))
        assert xed25519.verify(u, message, signed_like_libsignal(keys, message))
        assert signed_like_libsignal(keys, message)[63] & 0x80 == sign


@pytest.mark.parametrize("position", [0, 31, 32, 62, 63])
def test_a_changed_signature_is_refused(position: int) -> None:
    keys = Keys()
    signature = bytearray(keys.sign(b"a prekey"))
    signature[position] ^= 0x01
    assert not xed25519.verify(keys.identity_key[1:], b"a prekey", bytes(signature))


def test_the_wrong_sign_another_message_and_another_key_are_refused() -> None:
    keys = Keys()
    signature = keys.sign(b"a prekey")
    assert not xed25519.verify(keys.identity_key[1:], b"a prekey", signature[:-1] + bytes([signature[-1] ^ 0x80]))
    assert not xed25519.verify(keys.identity_key[1:], b"b prekey", signature)
    assert not xed25519.verify(Keys().identity_key[1:], b"a prekey", signature)
    assert not xed25519.verify(keys.identity_key[1:], b"a prekey", signature[:-1])


def test_points_of_low_order_and_second_forms_are_no_keys() -> None:
    low = [0, 1, P - 1, 325606250916557431795983626356110631294008115727848805560023387167927233504]
    second_forms = [P, P + 1, 2**255 - 1, 9 + 2**255]
    for value in low + second_forms:
        assert not xed25519.is_point(value.to_bytes(32, "little"))
    assert xed25519.is_point((9).to_bytes(32, "little"))
    assert not xed25519.is_point(b"\x09" * 31)


def test_a_key_without_an_edwards_form_verifies_nothing() -> None:
    # u = 2 lies on the curve's twist: fine for an agreement, but nobody can sign for it.
    assert not xed25519.verify((2).to_bytes(32, "little"), b"a prekey", Keys().sign(b"a prekey"))
