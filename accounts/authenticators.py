"""What staff show to have beside their password: an authenticator app (TOTP, RFC 6238), or codes that were put away for the day it is lost.

They are devices in django-otp's sense: it remembers in the session who has shown one, locks the row that is tried and makes tries rarer after each
failure. Its own tables keep secrets in the clear; these hold nothing that a reader of the database could log in with.
"""

import base64
import functools
import hmac
import time

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import models
from django_otp import oath
from django_otp.models import Device, ThrottlingMixin, TimestampMixin

from accounts.derivation import key_from, keyed_hash

STEP_SECONDS = 30
DIGITS = 6
# Codes of the steps next to the present one are taken too: clocks differ, and typing takes time.
STEPS_OFF = 1


class Authenticator(TimestampMixin, ThrottlingMixin, Device):  # type: ignore[misc]  # django-otp is not typed
    """An app that shows codes. `last_step` is the newest step a code was taken of: none is taken twice."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    secret_encrypted = models.BinaryField()
    last_step = models.BigIntegerField(default=-1, db_default=-1)

    class Meta:
        db_table = "accounts_authenticator"

    @property
    def secret(self) -> bytes:
        """What the app has too. Raises `InvalidToken` of cryptography when none of PHONE_ENCRYPTION_KEYS fits."""
        return _fernet(tuple(settings.PHONE_ENCRYPTION_KEYS)).decrypt(bytes(self.secret_encrypted))

    @secret.setter
    def secret(self, value: bytes) -> None:
        self.secret_encrypted = _fernet(tuple(settings.PHONE_ENCRYPTION_KEYS)).encrypt(value)

    def verify_token(self, token: str) -> bool:
        """Whether it is a code of now that was not used yet. Saves what the try has changed; the row is locked by the caller."""
        step = self._step_of(token) if self.verify_is_allowed()[0] else None
        if step is None:
            return _failed(self)
        self.last_step = step
        return _succeeded(self)

    def get_throttle_factor(self) -> int:
        """Seconds to wait after the first failure; twice as long after each further one."""
        return 1

    def _step_of(self, token: str) -> int | None:
        app = oath.TOTP(self.secret, STEP_SECONDS, 0, DIGITS, 0)
        app.time = time.time()
        is_right = token.isascii() and token.isdecimal() and len(token) == DIGITS
        return app.t() if is_right and app.verify(int(token), STEPS_OFF, self.last_step + 1) else None


class RecoveryCodes(TimestampMixin, ThrottlingMixin, Device):  # type: ignore[misc]  # as above
    """Codes that work once each. Only their keyed hashes are kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    hashes = models.JSONField(default=list, db_default=[])

    class Meta:
        db_table = "accounts_recovery_codes"

    def verify_token(self, token: str) -> bool:
        """Whether it is one of those that are left; it is none of them any more. Saves; the row is locked by the caller."""
        shown = hash_code(token)
        left = [kept for kept in self.hashes if not hmac.compare_digest(kept, shown)]
        if not self.verify_is_allowed()[0] or len(left) == len(self.hashes):
            return _failed(self)
        self.hashes = left
        return _succeeded(self)

    def get_throttle_factor(self) -> int:
        """As for codes of the app."""
        return 1


def hash_code(code: str) -> str:
    """What is kept of a recovery code, however it was typed."""
    return keyed_hash("recovery code", "".join(filter(str.isalnum, code)).lower().encode()).hex()


def _succeeded(device: Authenticator | RecoveryCodes) -> bool:
    device.throttle_reset(commit=False)
    device.set_last_used_timestamp(commit=False)
    device.save()
    return True


def _failed(device: Authenticator | RecoveryCodes) -> bool:
    """A try that came too early counts no more than waiting: whoever has to wait is not made to wait longer by trying."""
    if device.verify_is_allowed()[0]:
        device.throttle_increment()
    return False


@functools.cache
def _fernet(secrets: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key_from(secret, "second factor"))) for secret in secrets])
