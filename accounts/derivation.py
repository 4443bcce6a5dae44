"""Keyed hashes and keys made from the installation's secrets, one per purpose: what one of them protects tells nothing about another."""

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def keyed_hash(purpose: str, *parts: bytes) -> bytes:
    """HMAC-SHA-256 of the parts (each with its length, so that no two lists of parts look alike), under SECRET_KEY and for this purpose."""
    message = b"".join(len(part).to_bytes(4, "big") + part for part in (purpose.encode(), *parts))
    return hmac.digest(settings.SECRET_KEY.encode(), message, hashlib.sha256)


def key_from(secret: str, purpose: str) -> bytes:
    """A 32-byte key derived from a secret of any form (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())
