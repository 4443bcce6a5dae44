"""Settings of a person: JSON values by key. Known keys have a default and are checked; of the others the server knows nothing.

A key without a row has its default. Null is never stored: it stands for the default, and for nothing where there is none.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from django.utils import timezone

from accounts.models import Preference
from accounts.tombstones import lock_living
from accounts.transactions import short_transaction
from accounts.wire.refusals import InvalidRequest, NotFound, TooLarge

READ_RECEIPTS = "read_receipts"
TYPING_INDICATORS = "typing_indicators"
PRESENCE = "presence"
PHONE_DISCOVERY = "phone_discovery"
PUSH_ENABLED = "push_enabled"
PUSH_PREVIEWS = "push_previews"
THEME = "theme"
LANGUAGE = "language"
QUIET_HOURS = "quiet_hours"

KEY = re.compile(r"[a-z0-9_.-]{1,64}")
LARGEST_VALUE = 8 * 1024
MOST_KEYS = 64

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
# The form of a language tag (RFC 5646, section 2.1): a language and subtags of at most 8 letters and digits each.
_LANGUAGE_TAG = re.compile(r"(?=.{2,35}\Z)[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one key; `updated_at` is None where it is the default."""

    key: str
    value: Any
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    default: Any
    is_valid: Callable[[Any], bool]


def known(key: str) -> bool:
    """Whether the key has a default and is checked."""
    return key in _KNOWN


def read(user_id: UUID, key: str) -> Any:
    """What holds for this person: their value, or the known key's default."""
    return read_many([user_id], key)[user_id]


def read_many(user_ids: Collection[UUID], key: str) -> dict[UUID, Any]:
    """The same for several people, in one query."""
    stored = Preference.objects.filter(user_id__in=user_ids, key=key).values_list("user_id", "value")
    return dict.fromkeys(user_ids, _KNOWN[key].default) | dict(stored)


def access(user_id: UUID, key: str) -> Setting:
    """The setting. Raises NotFound for one that was never set and has no default."""
    require_key(key)
    row = Preference.objects.filter(user_id=user_id, key=key).first()
    if row is not None:
        return Setting(key, row.value, row.updated_at)
    if not known(key):
        raise NotFound
    return Setting(key, _KNOWN[key].default)


def change(user_id: UUID, values: Mapping[str, Any], *, field: str | None = None) -> dict[str, Setting]:
    """These settings, after the change; None puts the default back, or removes. All or none.

    Raises NotFound for what is no key, TooLarge, InvalidToken without an account, and InvalidRequest for a value a known key cannot have; its `field` is the key if none is given.
    """
    for key, value in values.items():
        require_key(key)
        _check(key, value, field or key)
    with short_transaction():
        # One change of a person's settings at a time: two at once might go past the number of keys.
        lock_living(user_id)
        return {key: _put(user_id, key, value) for key, value in values.items()}


def require_key(key: str) -> None:
    """Raise NotFound for what is no key."""
    if not KEY.fullmatch(key):
        raise NotFound


def _check(key: str, value: Any, field: str) -> None:
    if _size(value) > LARGEST_VALUE:
        raise TooLarge(limit="value", max=LARGEST_VALUE)
    if value is not None and known(key) and not _KNOWN[key].is_valid(value):
        raise InvalidRequest("This setting cannot have this value.", field=field)


def _put(user_id: UUID, key: str, value: Any) -> Setting:
    mine = Preference.objects.filter(user_id=user_id)
    if value is None:
        mine.filter(key=key).delete()
        return Setting(key, _KNOWN[key].default if known(key) else None)
    if not mine.filter(key=key).exists() and mine.count() >= MOST_KEYS:
        raise TooLarge("There are as many settings as there may be.", limit="keys", max=MOST_KEYS)
    now = timezone.now()
    fields = {"value": value, "updated_at": now}
    Preference.objects.update_or_create(user_id=user_id, key=key, defaults=fields)
    return Setting(key, value, now)


def _size(value: Any) -> int:
    """Bytes of the JSON text, numbers written out: PostgreSQL gives 1e300 back with all its zeros."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode()) + _zeros(value)


def _zeros(value: Any) -> int:
    if isinstance(value, float):
        return max(0, len(format(Decimal(repr(value)), "f")) - len(repr(value)))
    if isinstance(value, dict | list):
        return sum(_zeros(item) for item in (value.values() if isinstance(value, dict) else value))
    return 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_theme(value: Any) -> bool:
    return value in ("system", "light", "dark")


def _is_language(value: Any) -> bool:
    return isinstance(value, str) and _LANGUAGE_TAG.fullmatch(value) is not None


def _are_quiet_hours(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return _is_clock(value.get("start")) and _is_clock(value.get("end")) and _is_timezone(value.get("timezone"))


def _is_clock(value: Any) -> bool:
    return isinstance(value, str) and _CLOCK.fullmatch(value) is not None


def _is_timezone(value: Any) -> bool:
    return isinstance(value, str) and value in _timezones()


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


_FLAG = _Known(default=True, is_valid=_is_flag)
_KNOWN = {
    READ_RECEIPTS: _FLAG,
    TYPING_INDICATORS: _FLAG,
    PRESENCE: _FLAG,
    PHONE_DISCOVERY: _FLAG,
    PUSH_ENABLED: _FLAG,
    PUSH_PREVIEWS: _FLAG,
    THEME: _Known(default="system", is_valid=_is_theme),
    LANGUAGE: _Known(default="en", is_valid=_is_language),
    QUIET_HOURS: _Known(default=None, is_valid=_are_quiet_hours),
}
