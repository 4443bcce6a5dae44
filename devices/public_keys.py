"""Public keys as clients send them: their form, and the signatures that bind them to a device's identity."""

import hashlib
from dataclasses import dataclass

from accounts.wire.refusals import InvalidSignature
from devices import xed25519

CURVE_TYPE = 0x05
CURVE_BYTES = 33
KYBER_1024_TYPE = 0x08
KYBER_1024_BYTES = 1569


@dataclass(frozen=True, slots=True)
class Prekey:
    """A public key with its number; `signature` is the identity key's, over the public key's bytes."""

    key_id: int
    public_key: bytes
    signature: bytes | None = None


def require_curve_key(public_key: bytes, field: str) -> None:
    """Raise InvalidSignature unless this is 0x05 and an X25519 point that is safe to agree with."""
    if len(public_key) != CURVE_BYTES or public_key[0] != CURVE_TYPE or not xed25519.is_point(public_key[1:]):
        raise InvalidSignature(field=field)


def require_kyber_key(public_key: bytes, field: str) -> None:
    """Raise InvalidSignature unless this has the form of a Kyber-1024 key. Its content is the clients' affair."""
    if len(public_key) != KYBER_1024_BYTES or public_key[0] != KYBER_1024_TYPE:
        raise InvalidSignature(field=field)


def require_signature(identity_key: bytes, prekey: Prekey, field: str) -> None:
    """Raise InvalidSignature unless the owner of the identity key has signed the prekey."""
    if not xed25519.verify(bytes(identity_key)[1:], prekey.public_key, prekey.signature or b""):
        raise InvalidSignature(field=f"{field}.signature")


def fingerprint(identity_key: bytes) -> str:
    """What people compare: the first 16 bytes of the key's SHA-256 in eight groups, "3f9a 01c2 …"."""
    digits = hashlib.sha256(identity_key).digest()[:16].hex()
    return " ".join(digits[start : start + 4] for start in range(0, 32, 4))
