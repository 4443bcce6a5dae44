"""Key material of a device of the checkup: real keys and signatures, of which nothing is kept.

The signature is XEd25519 as libsignal writes it (`devices.xed25519`). The private key is the scalar that Ed25519 makes of a seed (RFC 8032,
section 5.1.5), so that an ordinary Ed25519 signature is one by the X25519 key too; the sign of its Edwards form goes into the last bit.
"""

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devices.public_keys import CURVE_TYPE

SIGN_BIT = 0x80


def b64(raw: bytes) -> str:
    """Bytes as they travel in JSON."""
    return base64.b64encode(raw).decode()


@dataclass(frozen=True)
class IdentityKey:
    """The long-lived key of one device."""

    seed: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    @property
    def public(self) -> bytes:
        return _with_type(X25519PrivateKey.from_private_bytes(hashlib.sha512(self.seed).digest()[:32]))

    def sign(self, message: bytes) -> bytes:
        """64 bytes that `xed25519.verify` accepts with the public key."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        sign = key.public_key().public_bytes_raw()[-1] & SIGN_BIT
        signature = key.sign(message)
        return signature[:-1] + bytes([signature[-1] | sign])


def device_input(identity: IdentityKey, *, device_uuid: str, name: str, registration_id: int) -> dict[str, Any]:
    """What a new device tells of itself, with a signed prekey and five one-time prekeys."""
    signed = _any_public()
    return {
        "device_uuid": device_uuid,
        "name": name,
        "platform": "bot",
        "registration_id": registration_id,
        "identity_key": b64(identity.public),
        "signed_prekey": {"key_id": 1, "public_key": b64(signed), "signature": b64(identity.sign(signed))},
        "one_time_prekeys": [{"key_id": number, "public_key": b64(_any_public())} for number in range(1, 6)],
    }


def any_registration_id() -> int:
    return secrets.randbelow(16383) + 1


def _any_public() -> bytes:
    return _with_type(X25519PrivateKey.generate())


def _with_type(key: X25519PrivateKey) -> bytes:
    return bytes([CURVE_TYPE]) + key.public_key().public_bytes_raw()
