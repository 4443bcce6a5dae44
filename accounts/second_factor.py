"""The second step of a login to the web admin: setting it up, showing it, losing it."""

import base64
import secrets
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import django_otp
from django.db import transaction

from accounts.authenticators import DIGITS, STEP_SECONDS, Authenticator, RecoveryCodes, hash_code
from accounts.limits import Limit, WithoutRedis, spend
from accounts.models import User
from accounts.security_events import Kind, note

ISSUER = "Waypost"
SECRET_BYTES = 20
RECOVERY_CODES = 10
TRIES = Limit("ADMIN_LOGINS_PER_15_MIN", 900, WithoutRedis.REFUSE)


@dataclass(frozen=True, slots=True)
class Offer:
    """What an authenticator app has to be told. `uri` is in the key URI format that apps read from a QR code."""

    uri: str
    secret: str


def is_set_up(user: User) -> bool:
    """Whether the person has confirmed an authenticator."""
    return bool(Authenticator.objects.filter(user=user, confirmed=True).exists())


def offer(user: User) -> Offer:
    """A secret for the person's app, the same until it is confirmed."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        fresh = Authenticator.objects.filter(user=user, confirmed=False).first() or _new(user)
    text = base64.b32encode(fresh.secret).decode()
    facts = {"secret": text, "issuer": ISSUER, "algorithm": "SHA1", "digits": DIGITS, "period": STEP_SECONDS}
    return Offer(f"otpauth://totp/{quote(f'{ISSUER}:{user}')}?{urlencode(facts)}", text)


def confirm(user: User, code: str) -> tuple[Authenticator, list[str]] | None:
    """The authenticator, now in force instead of any earlier one, and new recovery codes, which nobody is told again; None for a wrong code.

    Raises RateLimited and StorageUnavailable.
    """
    spend(TRIES, "second factor", str(user.pk))
    fresh = Authenticator.objects.filter(user=user, confirmed=False).first()
    if fresh is None:
        return None
    with transaction.atomic():
        verified = django_otp.verify_token(user, fresh.persistent_id, _as_typed(code))
        if verified is None:
            return None
        Authenticator.objects.filter(user=user).exclude(pk=verified.pk).delete()
        Authenticator.objects.filter(pk=verified.pk).update(confirmed=True)
        note(Kind.STAFF_ENROLLED, user_id=user.pk)
        verified.confirmed = True
        return verified, _new_recovery_codes(user)


def show(user: User, code: str) -> Authenticator | RecoveryCodes | None:
    """What the code was of: the app, or the recovery codes. None when it is wrong, used, or tried too early after a wrong one.

    Raises RateLimited and StorageUnavailable.
    """
    spend(TRIES, "second factor", str(user.pk))
    typed = _as_typed(code)
    kind = Authenticator if typed.isdecimal() and len(typed) == DIGITS else RecoveryCodes
    device = kind.objects.filter(user=user, confirmed=True).first()
    shown: Authenticator | RecoveryCodes | None = device and django_otp.verify_token(user, device.persistent_id, typed)
    return shown


def forget(user: User) -> None:
    """The person sets it up anew with the next login. Part of the caller's transaction."""
    Authenticator.objects.filter(user=user).delete()
    RecoveryCodes.objects.filter(user=user).delete()


def _new(user: User) -> Authenticator:
    fresh = Authenticator(user=user, name="app", confirmed=False)
    fresh.secret = secrets.token_bytes(SECRET_BYTES)
    fresh.save()
    return fresh


def _new_recovery_codes(user: User) -> list[str]:
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    RecoveryCodes.objects.filter(user=user).delete()
    RecoveryCodes.objects.create(user=user, name="recovery codes", hashes=[hash_code(code) for code in codes])
    return codes


def _recovery_code() -> str:
    """80 bits, in groups that can be read out. Letters and digits that are not mistaken for each other."""
    text = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _as_typed(code: str) -> str:
    return "".join(filter(str.isalnum, code))
