"""PINs: setting, checking, changing, removing; and how many guesses anybody gets."""

from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from accounts import pins
from accounts.models import SecurityEvent
from tests.cast import Answer, Http, Installation

pytestmark = pytest.mark.django_db

PIN = "2580"
WRONG = "0000"


def with_pin(installation: Installation, *, registration_lock: bool = False) -> Installation:
    answer = installation.http.put("auth/pin", {"pin": PIN, "registration_lock": registration_lock})
    assert answer.status == 200, answer
    return installation


def verify(http: Http, pin: str | None) -> Answer:
    return http.post("auth/pin/verify", {"pin": pin})


def events(installation: Installation) -> list[str]:
    noted = SecurityEvent.objects.filter(user_id=installation.user_id, kind__startswith="pin").order_by("id")
    return list(noted.values_list("kind", flat=True))


def a_day_passes(hours: float = 24) -> None:
    """Every try was made so many hours earlier than it was."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_pin SET tries = ARRAY(SELECT t - make_interval(mins => %s) FROM unnest(tries) t)",
            [round(hours * 60)],
        )


def test_a_pin_is_set_changed_and_removed(alice_phone: Installation) -> None:
    http = alice_phone.http
    none = {"has_pin": False, "registration_lock": False, "attempts_remaining": 5}
    assert http.get("auth/pin").body == none
    assert http.put("auth/pin", {"pin": PIN}).body == none | {"has_pin": True}
    locked = http.put("auth/pin", {"pin": "correct horse", "current_pin": PIN, "registration_lock": True})
    assert (locked.status, locked.body["registration_lock"]) == (200, True)
    kept = http.put("auth/pin", {"pin": PIN, "current_pin": "correct horse"})
    assert kept.body["registration_lock"] is True, "a lock that is not named stays as it is"
    assert verify(http, PIN).body == {"verified": True}
    removed = http.delete("auth/pin", {"current_pin": PIN})
    assert (removed.status, http.get("auth/pin").body) == (204, none)
    assert events(alice_phone) == ["pin_set", "pin_changed", "pin_changed", "pin_removed"]


@pytest.mark.parametrize("given", [None, WRONG, "", "25800"])
def test_change_and_removal_need_the_current_pin(alice_phone: Installation, given: str | None) -> None:
    http = with_pin(alice_phone).http
    attempts = [
        http.put("auth/pin", {"pin": "9999", "current_pin": given}),
        http.put("auth/pin", {"pin": PIN, "current_pin": given, "registration_lock": True}),
        http.delete("auth/pin", {"current_pin": given}),
        verify(http, given),
    ]
    assert {(answer.status, answer.code) for answer in attempts} == {(401, "UNAUTHORIZED")}
    left = [5, 5, 5, 5] if given is None else [4, 3, 2, 1]
    assert [answer.body["attempts_remaining"] for answer in attempts] == left, "asking without a PIN costs no try"
    assert verify(http, PIN).status == 200
    assert http.get("auth/pin").body == {"has_pin": True, "registration_lock": False, "attempts_remaining": 5}


def test_without_a_pin_there_is_nothing_to_check(alice_phone: Installation) -> None:
    assert [verify(alice_phone.http, pin).status for pin in (PIN, None)] == [404, 404]
    assert alice_phone.http.delete("auth/pin", {"current_pin": PIN}).status == 404
    assert alice_phone.http.put("auth/pin", {"pin": PIN, "current_pin": WRONG}).status == 200


@pytest.mark.parametrize("pin", ["123", "1" * 33, 2580, True, "25\x0080", ["2580"], None])
def test_what_is_no_pin_is_refused(alice_phone: Installation, pin: object) -> None:
    assert alice_phone.http.put("auth/pin", {"pin": pin}).code == "INVALID_REQUEST"
    assert not pins.has_pin(UUID(alice_phone.user_id))


def test_a_pin_is_characters_of_any_script_however_they_are_composed(alice_phone: Installation) -> None:
    assert alice_phone.http.put("auth/pin", {"pin": "caf\u00e9"}).status == 200
    assert verify(alice_phone.http, "cafe\u0301").status == 200
    assert verify(alice_phone.http, "cafe").status == 401


def test_five_wrong_guesses_and_the_right_one_comes_too_late(alice_phone: Installation) -> None:
    http = with_pin(alice_phone).http
    laptop = alice_phone.beside().register()
    guesses = [verify(laptop.http if number % 2 else http, WRONG) for number in range(5)]
    assert [(answer.status, answer.body["attempts_remaining"]) for answer in guesses] == [
        (401, left) for left in (4, 3, 2, 1, 0)
    ]
    late = [verify(http, PIN), http.delete("auth/pin", {"current_pin": PIN}), verify(http, None)]
    assert {(answer.status, answer.code) for answer in late} == {(429, "RATE_LIMITED")}
    assert all(86_000 < int(answer.headers["Retry-After"]) <= 86_400 for answer in late)
    shown = http.get("auth/pin").body
    assert shown["attempts_remaining"] == 0
    assert shown["locked_until"] > timezone.now().isoformat()[:19]
    assert events(alice_phone) == ["pin_set", *["pin_wrong"] * 4, "pin_exhausted"]


def test_tries_come_back_one_by_one_a_day_after_they_were_used(alice_phone: Installation) -> None:
    http = with_pin(alice_phone).http
    for _ in range(3):
        verify(http, WRONG)
    a_day_passes(12)
    for _ in range(2):
        verify(http, WRONG)
    assert verify(http, PIN).status == 429
    a_day_passes(11.5)
    assert verify(http, PIN).status == 429
    a_day_passes(1)
    assert http.get("auth/pin").body["attempts_remaining"] == 3
    assert verify(http, PIN).status == 200
    assert http.get("auth/pin").body["attempts_remaining"] == 5
