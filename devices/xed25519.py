"""XEd25519: Ed25519 signatures checked with the X25519 key that a device is known by.

Source: Perrin, "The XEdDSA and VXEdDSA Signature Schemes", sections 2.3 and 2.5. Two forms exist. The paper's signer chooses the Edwards key
with sign bit 0; libsignal's signer keeps its key and carries the sign bit in the top bit of the signature's last byte, which is otherwise
always 0. Reading the sign from there accepts both.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P = 2**255 - 19
SIGNATURE_BYTES = 64
_SIGN_BIT = 0x80

# The points of order 1, 2, 4 and 8: with them anybody could agree on a secret with everybody. RFC 7748, section 6.1; the list of
# values below P is Bernstein's (cr.yp.to/ecdh.html#validate).
_LOW_ORDER = frozenset(
    {
        0,
        1,
        P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)


def is_point(u: bytes) -> bool:
    """Whether these 32 bytes are an X25519 public key in its one form, and not one of low order."""
    value = int.from_bytes(u, "little")
    return len(u) == 32 and value < P and value not in _LOW_ORDER


def verify(u: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature over the message is of the owner of the X25519 key `u`, for which `is_point` holds."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    key = Ed25519PublicKey.from_public_bytes(_edwards(u, signature[-1] & _SIGN_BIT))
    try:
        key.verify(signature[:-1] + bytes([signature[-1] & ~_SIGN_BIT]), message)
    except InvalidSignature:
        return False
    return True


def _edwards(u: bytes, sign: int) -> bytes:
    """The Edwards form of the key: y = (u - 1) / (u + 1), with the sign of x on top."""
    value = int.from_bytes(u, "little")
    y = (value - 1) * pow(value + 1, -1, P) % P
    encoded = bytearray(y.to_bytes(32, "little"))
    encoded[-1] |= sign
    return bytes(encoded)
