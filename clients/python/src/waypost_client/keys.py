"""Keys as the wire writes them: 0x05 and 32 bytes of X25519; signatures are XEd25519 over those 33 bytes."""

import hashlib
import uuid

import xeddsa

KEY_TYPE = b"\x05"
LINK_PREFIX = b"waypost-device-v1"


class BadKey(Exception):
    """A public key is not 0x05 and 32 bytes."""


def to_wire(public: bytes) -> bytes:
    return KEY_TYPE + public


def from_wire(public: bytes) -> bytes:
    if len(public) != 33 or public[:1] != KEY_TYPE:
        raise BadKey
    return public[1:]


def public_of(private: bytes) -> bytes:
    """The wire form of a private key's public side."""
    return to_wire(xeddsa.priv_to_curve25519_pub(private))


def sign(identity_private: bytes, message: bytes) -> bytes:
    """XEd25519 (https://signal.org/docs/specifications/xeddsa/): the Edwards key is the one with sign bit 0."""
    return xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(identity_private, set_sign_bit=False), message)


def verifies(identity_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of this identity key signed. Bad keys and signatures of a wrong length did not."""
    try:
        edwards = xeddsa.curve25519_pub_to_ed25519_pub(from_wire(identity_key), set_sign_bit=False)
        return xeddsa.ed25519_verify(signature, edwards, message)
    except (BadKey, ValueError):
        return False


def fingerprint(identity_key: bytes) -> str:
    """Eight groups of four for two people to compare."""
    digest = hashlib.sha256(identity_key).hexdigest()[:32]
    return " ".join(digest[i : i + 4] for i in range(0, 32, 4))


def link_statement(user_id: str, identity_key: bytes, device_uuid: str) -> bytes:
    """What a device signs when it vouches for a new one of the same user."""
    return LINK_PREFIX + uuid.UUID(user_id).bytes + identity_key + uuid.UUID(device_uuid).bytes
