"""Tokens of a device: a short access token that carries who it is for, and a refresh token that is exchanged for the next pair.

A pair is one row. The access token names its row (`jti`), so the row's going ends both tokens at once, everywhere: nothing is cached. What has
expired PostgreSQL's clock says: a process whose own clock is wrong signs nobody out, and lets nobody in.
"""

import functools
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q
from django.db.models.functions import Now

from accounts import usage
from accounts.clocks import postgresql_now
from accounts.counts import count
from accounts.derivation import key_from
from accounts.security_events import Kind, note
from accounts.transactions import short_transaction
from accounts.wire.refusals import InvalidToken
from devices.current import CurrentDevice
from devices.models import Device, PushToken, TokenPair
from devices.signals import Reason, announce

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
    device.tokens_since = postgresql_now()
    device.save(update_fields=["tokens_since"])
    return _give(device, _State.CURRENT)


def refresh(refresh_token: str) -> Tokens:
    """The next pair.

    The presented token goes on working until a token of the new pair is used, because the answer may be lost; every try gives a pair of
    its own. Presented after that, it is in two hands: all tokens of the device end and `token_reuse` is announced. Raises InvalidToken.
    """
    with short_transaction():
        pair = _lock_pair(Q(refresh_hash=_hash(refresh_token), refresh_expires_at__gt=Now()))
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
    if row["now"].timestamp() >= claims["exp"]:
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
    """End all tokens of the device; nobody wakes it any more. Part of the caller's transaction."""
    TokenPair.objects.filter(device=device).delete()
    PushToken.objects.filter(device=device).delete()


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
        count("tokens_reused")
        note(Kind.TOKEN_REUSE, user_id=pair.device.user_id, device_id=pair.device_id)
        return False
    if pair.state == _State.OFFERED:
        TokenPair.objects.filter(device=pair.device, state=_State.CURRENT).update(state=_State.REPLACED)
        TokenPair.objects.filter(device=pair.device, state=_State.OFFERED).exclude(pk=pair.pk).update(
            state=_State.ENDED
        )
        TokenPair.objects.filter(pk=pair.pk).update(state=_State.CURRENT)
    return True


def _next_pair(pair: TokenPair) -> Tokens | None:
    now = postgresql_now()
    if pair.device.tokens_since is None or now >= pair.device.tokens_since + _line_lasts():
        return None
    TokenPair.objects.filter(device=pair.device, refresh_expires_at__lt=now).delete()
    open_offers = TokenPair.objects.filter(device=pair.device, state=_State.OFFERED).order_by("-created_at")
    TokenPair.objects.filter(pk__in=[offer.pk for offer in open_offers[OPEN_OFFERS - 1 :]]).delete()
    return _give(pair.device, _State.OFFERED)


def _give(device: Device, state: TokenPair.State) -> Tokens:
    now, access_lasts = postgresql_now(), timedelta(seconds=settings.ACCESS_TOKEN_SECONDS)
    expires_at = min(now + timedelta(days=settings.REFRESH_TOKEN_DAYS), (device.tokens_since or now) + _line_lasts())
    secret = secrets.token_urlsafe(32)
    pair = TokenPair.objects.create(
        device=device, state=state, refresh_hash=_hash(secret), created_at=now, refresh_expires_at=expires_at
    )
    return Tokens(
        _sign(pair, now, now + access_lasts),
        int(access_lasts.total_seconds()),
        secret,
        int((expires_at - now).total_seconds()),
    )


def _line_lasts() -> timedelta:
    return timedelta(days=settings.TOKEN_LINE_DAYS)


def _hash(refresh_token: str) -> bytes:
    return hashlib.sha256(refresh_token.encode()).digest()


def _sign(pair: TokenPair, now: datetime, expires_at: datetime) -> str:
    kid, key = next(iter(_keys(tuple(settings.TOKEN_KEYS)).items()))
    claims = {
        "typ": "access",
        "aud": AUDIENCE,
        "sub": str(pair.device.user_id),
        "did": str(pair.device_id),
        "jti": str(pair.pk),
        "iat": now,
        "exp": expires_at,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": kid})


def _claims(access_token: str) -> dict[str, Any]:
    """Checked claims, ids parsed; all but whether it has expired."""
    try:
        key = _keys(tuple(settings.TOKEN_KEYS))[jwt.get_unverified_header(access_token)["kid"]]
        # No times: they are PostgreSQL's, and this process's clock may be another.
        unasked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        checks = {"require": ["exp", "aud", "sub", "did", "jti", "typ"]} | unasked
        claims = jwt.decode(access_token, key, algorithms=[ALGORITHM], audience=AUDIENCE, options=checks)  # type: ignore[arg-type]
        ids = {"jti": uuid.UUID(claims["jti"]), "sub": uuid.UUID(claims["sub"]), "did": int(claims["did"])}
        times = {"exp": int(claims["exp"])}
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as failure:
        raise InvalidToken from failure
    if claims["typ"] != "access":
        raise InvalidToken
    return claims | ids | times


@functools.cache
def _keys(entries: tuple[str, ...]) -> dict[str, bytes]:
    """Keys by their id, from `kid:secret`. The first signs, all verify."""
    named = [entry.partition(":") for entry in entries]
    if not named or not all(kid and secret for kid, _, secret in named) or len({kid for kid, *_ in named}) < len(named):
        sentence = "TOKEN_KEYS must be a list of kid:secret, each kid once"
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
    "device__user__last_used_at",
)


def _pair_row(claims: dict[str, Any]) -> dict[str, Any] | None:
    mine = TokenPair.objects.filter(pk=claims["jti"], device_id=claims["did"], device__user_id=claims["sub"])
    row: dict[str, Any] | None = mine.annotate(now=Now()).values(*_FACTS, "now").first()
    return row


def _note_use(row: dict[str, Any]) -> None:
    """Remember the day of the device once a day, and the use of the account once an hour."""
    if row["device__last_seen"] != row["now"].date():
        Device.objects.filter(pk=row["device_id"]).update(last_seen=row["now"].date())
    if usage.is_due(row["device__user__last_used_at"], row["now"]):
        usage.note_use(row["device__user_id"])
