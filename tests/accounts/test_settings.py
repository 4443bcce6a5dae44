"""Settings and notification preferences over HTTP."""

import json
import uuid
from typing import Any

import pytest

from accounts import preferences
from tests.cast import Installation

pytestmark = pytest.mark.django_db

DEFAULTS = {
    "read_receipts": True,
    "typing_indicators": True,
    "presence": True,
    "phone_discovery": True,
    "push_enabled": True,
    "push_previews": True,
    "theme": "system",
    "language": "en",
    "quiet_hours": None,
}
NIGHT = {"start": "22:00", "end": "07:00", "timezone": "Asia/Bangkok"}


KEPT: list[tuple[str, Any]] = [
    ("read_receipts", False),
    ("theme", "dark"),
    ("language", "pt-BR"),
    ("language", "zh-Hant-TW"),
    ("quiet_hours", NIGHT),
    ("draft.0199a6c2-41b7_x", {"text": ["ä", 1, 2.5, None, True, {"a": {}}]}),
    ("x" * 64, ""),
    ("0", 0),
    ("list", []),
]
NO_QUIET_HOURS: list[Any] = [
    "22:00",
    {},
    {"start": "22:00", "end": "07:00"},
    NIGHT | {"start": "24:00"},
    NIGHT | {"end": "7:00"},
    NIGHT | {"timezone": "../etc/passwd"},
    NIGHT | {"timezone": "America"},
    NIGHT | {"timezone": 7},
]
NO_FLAGS: list[Any] = [1, "true", [], {}]
NO_THEMES: list[Any] = ["Dark", "", 1, ["dark"]]
NO_LANGUAGES: list[Any] = ["", "e", "en_US", "en-", "languages-en", "en\n", "x" * 40, 5]
MISTAKEN: list[tuple[str, Any]] = [
    *((key, value) for key in ("read_receipts", "presence", "push_enabled") for value in NO_FLAGS),
    *(("theme", value) for value in NO_THEMES),
    *(("language", value) for value in NO_LANGUAGES),
    *(("quiet_hours", value) for value in NO_QUIET_HOURS),
]
BOUNDS = [
    ('{"value": "%s"}' % ("x" * 8190), 200),
    ('{"value": "%s"}' % ("x" * 8191), 413),
    ('{"value": "%s"}' % ("ä" * 4096), 413),
    # PostgreSQL would give each of these back with three hundred zeros.
    ('{{"value": [{}]}}'.format(",".join(["1e300"] * 100)), 413),
    ('{{"value": [{}]}}'.format(",".join(["1e-300"] * 100)), 413),
    ('{"value": %s}' % ("9" * 5000), 400),
    ('{"value": 1e400}', 400),
    ('{"value": NaN}', 400),
    ('{"value": "\\u0000"}', 400),
    ('{"value": {"\\ud800": 1}}', 400),
    ('{"value": %s}' % ("[" * 15 + "]" * 15), 200),
    ('{"value": %s}' % ("[" * 16 + "]" * 16), 400),
    ('{{"value": {{{}}}}}'.format(",".join(f'"k{number}":1' for number in range(65))), 400),
    ('{"value": {"a": 1, "a": 2}}', 400),
]


def test_a_known_key_has_a_default_until_it_is_set(alice_phone: Installation) -> None:
    for key, default in DEFAULTS.items():
        assert alice_phone.http.get(f"settings/{key}").body == {"key": key, "value": default, "updated_at": None}
        assert preferences.known(key)
        assert preferences.read(uuid.UUID(alice_phone.user_id), key) == default


def test_what_is_put_is_there_for_every_device_and_nobody_else(
    alice_phone: Installation, mallory: Installation
) -> None:
    for key, value in KEPT:
        put = alice_phone.http.put(f"settings/{key}", {"value": value})
        assert (put.status, put.body["key"], put.body["value"]) == (200, key, value)
        assert put.body["updated_at"] is not None
        assert alice_phone.http.get(f"settings/{key}").body == put.body
        others = mallory.http.get(f"settings/{key}")
        assert others.status == 404 if key not in DEFAULTS else others.body["value"] == DEFAULTS[key]


def test_null_puts_the_default_back_or_removes(alice_phone: Installation) -> None:
    for key, answer in (("theme", (200, "system")), ("mine", (404, None))):
        assert alice_phone.http.put(f"settings/{key}", {"value": "dark"}).status == 200
        removed = alice_phone.http.put(f"settings/{key}", {"value": None})
        assert (removed.status, removed.body["updated_at"]) == (200, None)
        found = alice_phone.http.get(f"settings/{key}")
        assert (found.status, found.body.get("value")) == answer


def test_a_known_key_takes_only_what_it_knows(alice_phone: Installation) -> None:
    for key, value in MISTAKEN:
        refused = alice_phone.http.put(f"settings/{key}", {"value": value})
        assert (refused.status, refused.code, refused.body["field"]) == (400, "INVALID_REQUEST", "value"), value
        assert alice_phone.http.get(f"settings/{key}").body["value"] == DEFAULTS[key]


def test_what_is_no_key_is_nowhere(alice_phone: Installation) -> None:
    for key in ("X", "a b", "x" * 65, "ä", "a%00", "a/b", "%2e%2e%2f", "a%0A"):
        assert alice_phone.http.get(f"settings/{key}").code == "NOT_FOUND"
        assert alice_phone.http.put(f"settings/{key}", {"value": 1}).code == "NOT_FOUND"


def test_a_value_has_to_be_given(alice_phone: Installation) -> None:
    refused = alice_phone.http.put("settings/theme", {})
    assert (refused.status, refused.body["field"]) == (400, "value")


def test_values_are_bounded(alice_phone: Installation) -> None:
    for raw, status in BOUNDS:
        put = alice_phone.http.send_raw("PUT", "settings/mine", raw)
        assert put.status == status, raw[:50]
        if status == 413:
            assert (put.code, put.body["limit"], put.body["max"]) == ("TOO_LARGE", "value", 8192)
        if status == 200:
            assert alice_phone.http.get("settings/mine").body["value"] == json.loads(raw)["value"]


def test_there_are_64_keys_and_one_can_be_exchanged(alice_phone: Installation) -> None:
    for number in range(64):
        assert alice_phone.http.put(f"settings/k{number}", {"value": number}).status == 200
    refused = alice_phone.http.put("settings/theme", {"value": "dark"})
    assert (refused.status, refused.body["limit"], refused.body["max"]) == (413, "keys", 64)
    assert alice_phone.http.put("settings/k7", {"value": "seven"}).status == 200
    assert alice_phone.http.put("settings/unheard", {"value": None}).status == 200
    assert alice_phone.http.put("settings/k8", {"value": None}).status == 200
    assert alice_phone.http.put("settings/theme", {"value": "dark"}).status == 200


def test_notification_preferences_are_the_settings_of_that_name(alice_phone: Installation) -> None:
    before = alice_phone.http.get("notifications/preferences").body
    del before["webpush_public_key"]
    assert before == {"push_enabled": True, "push_previews": True, "quiet_hours": None}
    changed = alice_phone.http.put("notifications/preferences", {"push_enabled": False, "quiet_hours": NIGHT})
    assert changed.body == alice_phone.http.get("notifications/preferences").body
    assert (changed.body["push_enabled"], changed.body["push_previews"], changed.body["quiet_hours"]) == (
        False,
        True,
        NIGHT,
    )
    assert alice_phone.http.get("settings/push_enabled").body["value"] is False
    assert alice_phone.http.get("settings/quiet_hours").body["value"] == NIGHT
    alice_phone.http.put("notifications/preferences", {"quiet_hours": None})
    assert alice_phone.http.get("settings/quiet_hours").body["value"] is None


def test_notification_preferences_change_together_or_not_at_all(alice_phone: Installation) -> None:
    mistakes: list[tuple[str, Any]] = [
        ("quiet_hours", {"start": "22:00"}),
        ("quiet_hours", NIGHT | {"timezone": "Mars/Phobos"}),
        ("push_enabled", "no"),
    ]
    for field, value in mistakes:
        refused = alice_phone.http.put("notifications/preferences", {"push_previews": False, field: value})
        assert (refused.status, refused.body["field"]) == (400, field)
        assert alice_phone.http.get("notifications/preferences").body["push_previews"] is True


def test_the_web_push_key_is_told_where_there_is_one(alice_phone: Installation, settings: Any) -> None:
    settings.WEBPUSH_PUBLIC_KEY = "BNcR"
    assert alice_phone.http.get("notifications/preferences").body["webpush_public_key"] == "BNcR"
    settings.WEBPUSH_PUBLIC_KEY = ""
    assert alice_phone.http.get("notifications/preferences").body["webpush_public_key"] is None


def test_several_people_are_asked_at_once(
    alice_phone: Installation, bob_phone: Installation, django_assert_num_queries: Any
) -> None:
    alice, bob = uuid.UUID(alice_phone.user_id), uuid.UUID(bob_phone.user_id)
    alice_phone.http.put("settings/presence", {"value": False})
    with django_assert_num_queries(1):
        assert preferences.read_many([alice, bob], preferences.PRESENCE) == {alice: False, bob: True}
