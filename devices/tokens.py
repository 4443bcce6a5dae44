"""Tokens of a device: a short access token that carries who it is for, and a refresh token that is exchanged for the next pair.

A pair is one row. The access token names its row (`jti`), so the row's going ends both tokens at once, everywhere: nothing is cached.
"""

import base64
import functools
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q
from django.utils import timezone

from accounts.derivation import key_from
from accounts.models import User
from accounts.transactions import short_transaction
from accounts.wire.refusals import InvalidToken
from devices.current import CurrentDevice
from devices.models import Device, TokenPair
from devices.signals import Reason, announce

ACCESS_LASTS = timedelta(seconds=600)
REFRESH_LASTS = timedelta(days=30)
LINE_LASTS = timedelta(days=180)
AUDIENCE = "waypost"
ALGORITHM = "HS256"
# Offers one refresh token may have open: whoever asks more often than this without using any loses the oldest.
OPEN_OFFERS = 32

_State = TokenPair.State


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair as it is given to the client; the server keeps neither."""

    access_token: str
    access_expires_in_seconds: int
    refresh_token: str
    refresh_expires_in_seconds: int


def begin(device: Device) -> Tokens:
    """The first pair of a new line; every older token of the device ends. The caller's transaction has the device's row locked."""
    end(device)
    device.tokens_since = timezone.now()
    device.save(update_fields=["tokens_since"])
    return _give(device, _State.CURRENT)


def refresh(refresh_token: str) -> Tokens:
    """The next pair.

    The presented token goes on working until a token of the new pair is used, because the answer may be lost; every try gives a pair of
    its own. Presented after that, it is in two hands: all tokens of the device end and `token_reuse` is announced. Raises InvalidToken.
    """
    with short_transaction():
        pair = _lock_pair(Q(refresh_hash=_hash(refresh_token), refresh_expires_at__gt=timezone.now()))
        tokens = _next_pair(pair) if pair is not None and _accept(pair, replaced_is_reuse=True) else None
    if tokens is None:
        raise InvalidToken
    return tokens


def authenticate(access_token: str) -> CurrentDevice:
    """The device this access token belongs to. Raises InvalidToken when it is malformed, expired, revoked or of another kind.

    The first use of a new pair ends the pair it replaces.
    """
    claims = _claims(access_token)
    row = _pair_row(claims)
    if row is None or not (row["device__active"] and row["device__user__is_active"]):
        raise InvalidToken
    if row["state"] in (_State.OFFERED, _State.ENDED):
        _first_use(claims["jti"])
    _note_use(row)
    return CurrentDevice(
        user_id=row["device__user_id"],
        device_id=row["device_id"],
        device_number=row["device__device_number"],
        registration_id=row["device__registration_id"],
        is_primary=row["device__is_primary"],
    )


def end(device: Device) -> None:
    """End all tokens of the device. Part of the caller's transaction."""
    TokenPair.objects.filter(device=device).delete()


def revoke(device: Device, reason: Reason) -> None:
    """End all tokens of the device and announce why. Part of the caller's transaction."""
    end(device)
    announce(device.user_id, device.pk, reason)


def _first_use(pair_id: uuid.UUID) -> None:
    with short_transaction():
        pair = _lock_pair(Q(pk=pair_id))
        accepted = pair is not None and _accept(pair, replaced_is_reuse=False)
    if not accepted:
        raise InvalidToken


def _lock_pair(which: Q) -> TokenPair | None:
    """The pair, with its device's row locked: whatever happens to a line of tokens happens one after the other."""
    found = TokenPair.objects.filter(which).values_list("pk", "device_id").first()
    if found is None or not _lock_usable(found[1]):
        return None
    return TokenPair.objects.select_related("device").filter(pk=found[0]).first()


def _lock_usable(device_id: int) -> bool:
    usable = Device.objects.select_for_update(no_key=True, of=("self",)).filter(
        pk=device_id, active=True, user__is_active=True
    )
    return usable.values_list("pk").first() is not None


def _accept(pair: TokenPair, *, replaced_is_reuse: bool) -> bool:
    """Whether the pair may be used; an offered one becomes the current one. A pair that is in two hands ends the whole line."""
    if pair.state == _State.ENDED or (pair.state == _State.REPLACED and replaced_is_reuse):
        revoke(pair.device, Reason.TOKEN_REUSE)
        return False
    if pair.state == _State.OFFERED:
        TokenPair.objects.filter(device=pair.device, state=_State.CURRENT).update(state=_State.REPLACED)
        TokenPair.objects.filter(device=pair.device, state=_State.OFFERED).exclude(pk=pair.pk).update(
            state=_State.ENDED
        )
        TokenPair.objects.filter(pk=pair.pk).update(state=_State.CURRENT)
    return True


def _next_pair(pair: TokenPair) -> Tokens | None:
    if pair.device.tokens_since is None or timezone.now() >= pair.device.tokens_since + LINE_LASTS:
        return None
    TokenPair.objects.filter(device=pair.device, refresh_expires_at__lt=timezone.now()).delete()
    open_offers = TokenPair.objects.filter(device=pair.device, state=_State.OFFERED).order_by("-created_at")
    TokenPair.objects.filter(pk__in=[offer.pk for offer in open_offers[OPEN_OFFERS - 1 :]]).delete()
    return _give(pair.device, _State.OFFERED)


def _give(device: Device, state: TokenPair.State) -> Tokens:
    now = timezone.now()
    expires_at = min(now + REFRESH_LASTS, (device.tokens_since or now) + LINE_LASTS)
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    pair = TokenPair.objects.create(
        device=device, state=state, refresh_hash=_hash(secret), created_at=now, refresh_expires_at=expires_at
    )
    return Tokens(_sign(pair, now), int(ACCESS_LASTS.total_seconds()), secret, int((expires_at - now).total_seconds()))


def _hash(refresh_token: str) -> bytes:
    return hashlib.sha256(refresh_token.encode()).digest()


def _sign(pair: TokenPair, now: datetime) -> str:
    kid, key = next(iter(_keys(tuple(settings.TOKEN_KEYS)).items()))
    claims = {
        "typ": "access",
        "aud": AUDIENCE,
        "sub": str(pair.device.user_id),
        "did": str(pair.device_id),
        "jti": str(pair.pk),
        "iat": now,
        "exp": now + ACCESS_LASTS,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": kid})


def _claims(access_token: str) -> dict[str, Any]:
    """Checked claims, ids parsed."""
    try:
        key = _keys(tuple(settings.TOKEN_KEYS))[jwt.get_unverified_header(access_token)["kid"]]
        # Not `iat`: a token made by a process whose clock is a second ahead is no forgery.
        checks = {"require": ["exp", "aud", "sub", "did", "jti", "typ"], "verify_iat": False}
        claims = jwt.decode(access_token, key, algorithms=[ALGORITHM], audience=AUDIENCE, options=checks)  # type: ignore[arg-type]
        ids = {"jti": uuid.UUID(claims["jti"]), "sub": uuid.UUID(claims["sub"]), "did": int(claims["did"])}
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as failure:
        raise InvalidToken from failure
    if claims["typ"] != "access":
        raise InvalidToken
    return claims | ids


@functools.cache
def _keys(entries: tuple[str, ...]) -> dict[str, bytes]:
    """Keys by their id, from `kid:secret`. The first signs, all verify."""
    named = [entry.partition(":") for entry in entries]
    if not named or not all(kid and secret for kid, _, secret in named):
        sentence = "TOKEN_KEYS must be a list of kid:secret"
        raise ImproperlyConfigured(sentence)
    return {kid: key_from(secret, "access token") for kid, _, secret in named}


_FACTS = (
    "state",
    "device_id",
    "device__user_id",
    "device__device_number",
    "device__registration_id",
    "device__is_primary",
    "device__active",
    "device__last_seen",
    "device__user__is_active",
)


def _pair_row(claims: dict[str, Any]) -> dict[str, Any] | None:
    mine = TokenPair.objects.filter(pk=claims["jti"], device_id=claims["did"], device__user_id=claims["sub"])
    row: dict[str, Any] | None = mine.values(*_FACTS).first()
    return row


def _note_use(row: dict[str, Any]) -> None:
    """Remember the day, once a day."""
    today = datetime.now(UTC).date()
    if row["device__last_seen"] != today:
        Device.objects.filter(pk=row["device_id"]).update(last_seen=today)
        User.objects.filter(pk=row["device__user_id"]).update(last_used_at=timezone.now())
