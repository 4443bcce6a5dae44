"""Encrypted columns: what the server has to read again, and a reader of the database must not."""

import base64
import functools

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings

from accounts.derivation import key_from


def encrypt(purpose: str, plain: bytes) -> bytes:
    """The bytes under the first of PHONE_ENCRYPTION_KEYS, with a key for this purpose alone. Twice the same gives two results."""
    return _fernet(purpose, tuple(settings.PHONE_ENCRYPTION_KEYS)).encrypt(plain)


def decrypt(purpose: str, encrypted: bytes | memoryview) -> bytes:
    """What was encrypted for this purpose, with whichever of the keys. Raises `InvalidToken` of cryptography when none fits."""
    return _fernet(purpose, tuple(settings.PHONE_ENCRYPTION_KEYS)).decrypt(bytes(encrypted))


@functools.cache
def _fernet(purpose: str, secrets: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key_from(secret, purpose))) for secret in secrets])
