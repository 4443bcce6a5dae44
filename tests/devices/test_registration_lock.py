"""The registration lock: a proven number is not enough, and nothing exists before the PIN was right."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import connection

from accounts import usage
from accounts.counts import counts
from accounts.models import Pin, SecurityEvent, User
from devices.models import Device, TokenPair
from devices.signals import registration_stopped
from devices.unlinking import block_user, unblock_user
from tests.cast import Answer, Http, Installation, JsonObject, last_code

pytestmark = pytest.mark.django_db

PIN = "correct horse"


@pytest.fixture
def locked_phone(alice_phone: Installation, settings: Any) -> Installation:
    """Alice's phone, with a PIN and the registration lock on. Codes are not what is asked about here."""
    settings.LIMITS = settings.LIMITS | {"OTP_PER_NUMBER_DAY": [0]}
    assert alice_phone.http.put("auth/pin", {"pin": PIN, "registration_lock": True}).status == 200
    return alice_phone


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """Whose devices were warned."""
    heard: list[str] = []

    def hear(sender: Any, user_id: Any, **_: Any) -> None:
        heard.append(str(user_id))

    registration_stopped.connect(hear)
    yield heard
    registration_stopped.disconnect(hear)


def register(installation: Installation, token: str | None = None, **extra: Any) -> Answer:
    body = {"registration_token": token or installation.prove_number(), "device": installation.device_input()} | extra
    return installation.http.post("auth/register-device", body)


def days_pass(days: float) -> None:
    """Nobody has used any account for so long, save for the tries at PINs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_user SET last_used_at = last_used_at - make_interval(mins => %s)", [round(days * 1440)]
        )


def everything() -> tuple[Any, ...]:
    """All there is of devices, tokens and people."""
    tables = (Device, TokenPair, User)
    return tuple(sorted(map(repr, table.objects.values_list())) for table in tables)


@pytest.mark.parametrize("pin", [None, "0000"])
def test_without_the_pin_nothing_happens_and_the_old_devices_work_on(
    locked_phone: Installation, warned: list[str], pin: str | None
) -> None:
    before = everything()
    refused = register(locked_phone.beside("Mallory's phone"), pin=pin)
    assert (refused.status, refused.code) == (423, "REGISTRATION_LOCKED")
    assert refused.body.keys() == {"error", "error_code", "attempts_remaining", "lock_expires_at"}
    assert refused.body["attempts_remaining"] == (5 if pin is None else 4), "asking without a PIN costs no try"
    assert everything() == before
    assert locked_phone.http.get("profile").status == 200
    assert warned == [locked_phone.user_id]
    kinds = list(SecurityEvent.objects.filter(user_id=locked_phone.user_id).values_list("kind", flat=True))
    assert kinds[-1] == "registration_locked"


def test_the_pin_opens_the_lock(locked_phone: Installation) -> None:
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    assert [register(laptop, token, pin=pin).status for pin in ("0000", None, PIN)] == [423, 423, 201]
    assert locked_phone.http.get("auth/pin").body == {
        "has_pin": True,
        "registration_lock": True,
        "attempts_remaining": 5,
    }


def test_the_lock_also_guards_an_installation_that_is_known(locked_phone: Installation) -> None:
    assert register(locked_phone.reinstalled()).status == 423
    assert register(locked_phone).status == 423
    assert locked_phone.http.get("profile").status == 200
    assert register(locked_phone.reinstalled(), pin=PIN).status == 201
    assert locked_phone.http.get("profile").code == "INVALID_TOKEN"


def test_tries_are_those_of_all_checks_and_when_they_are_used_the_pin_does_not_help(locked_phone: Installation) -> None:
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    for _ in range(2):
        locked_phone.http.post("auth/pin/verify", {"pin": "0000"})
    left = [register(laptop, token, pin="0000").body["attempts_remaining"] for _ in range(3)]
    assert left == [2, 1, 0]
    for pin in (PIN, None):
        refused = register(laptop, token, pin=pin)
        assert (refused.status, refused.body["attempts_remaining"]) == (423, 0)
        assert 86_000 < refused.body["retry_after_seconds"] <= 86_400
    assert locked_phone.http.post("auth/pin/verify", {"pin": PIN}).status == 429


def test_requires_pin_is_told_when_the_number_is_proven(locked_phone: Installation, bob_phone: Installation) -> None:
    def verify(installation: Installation) -> JsonObject:
        asked = installation.http.post("auth/request-otp", {"phone_number": installation.phone_number})
        proof = {"otp_session_id": asked.body["otp_session_id"], "code": last_code(installation.phone_number)}
        answers = [installation.http.post("auth/verify-otp", proof).body for _ in range(2)]
        assert answers[0] == answers[1]
        return dict(answers[0])

    assert verify(locked_phone.beside())["requires_pin"] is True
    assert verify(bob_phone.beside())["requires_pin"] is False
    days_pass(7)
    assert verify(locked_phone.beside())["requires_pin"] is False


def test_refusals_come_in_their_order(locked_phone: Installation, settings: Any) -> None:
    """400, 401, 422, 403, 423, 411: whoever does not know the PIN learns nothing of what would come after it."""
    settings.LIMITS = settings.LIMITS | {"DEVICES_PER_USER": [1]}
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    badly_signed = laptop.device_input() | {"signed_prekey": locked_phone.keys.signed_prekey()}
    assert register(laptop, "made-up", device={}).status == 400
    assert register(laptop, "made-up", device=badly_signed).status == 401
    assert register(laptop, token, device=badly_signed).status == 422
    refused = register(laptop, token)
    assert (refused.status, "devices" in refused.body) == (423, False)
    assert register(laptop, token, pin=PIN).status == 411
    User.objects.update(is_active=False)
    blocked = register(laptop, token)
    assert (blocked.status, blocked.code) == (403, "FORBIDDEN")


def test_the_lock_ends_seven_days_after_the_last_use_and_the_forgotten_pin_with_it(locked_phone: Installation) -> None:
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    days_pass(6.9)
    assert register(laptop, token).status == 423
    days_pass(0.1)
    assert register(laptop, token).status == 201
    assert locked_phone.http.get("auth/pin").body["has_pin"] is False
    [ended] = SecurityEvent.objects.filter(kind="registration_lock_ended")
    assert str(ended.user_id) == locked_phone.user_id


def test_whoever_still_knows_the_pin_keeps_it(locked_phone: Installation) -> None:
    days_pass(8)
    assert register(locked_phone.beside(), pin=PIN).status == 201
    assert locked_phone.http.get("auth/pin").body["registration_lock"] is True
    assert register(locked_phone.beside("another")).status == 423


def test_attempts_are_no_use_of_the_account_and_its_devices_are(locked_phone: Installation) -> None:
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    days_pass(6)
    expires_at = register(laptop, token).body["lock_expires_at"]
    assert register(laptop, token, pin="0000").body["lock_expires_at"] == expires_at
    assert locked_phone.http.get("profile").status == 200
    assert register(laptop, token).body["lock_expires_at"] > expires_at
    days_pass(6)
    assert register(laptop, token).status == 423


def test_a_pin_without_the_lock_is_not_asked_for(locked_phone: Installation) -> None:
    assert locked_phone.http.put("auth/pin", {"pin": PIN, "current_pin": PIN, "registration_lock": False}).body == {
        "has_pin": True,
        "registration_lock": False,
        "attempts_remaining": 5,
    }
    assert register(locked_phone.beside()).status == 201
    assert register(locked_phone.beside("another"), pin="0000").status == 201
    assert locked_phone.http.get("auth/pin").body["attempts_remaining"] == 5


@pytest.mark.parametrize("pin", [None, PIN])
def test_a_pin_that_was_set_while_somebody_registered_holds(locked_phone: Installation, pin: str | None) -> None:
    """The registration was past the check when Alice switched the lock on, or set another PIN: it looks again in its own transaction."""
    is_on = pin is not None
    Pin.objects.update(registration_lock=is_on)
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    happened: list[str] = []

    def just_before_the_transaction(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("SET LOCAL lock_timeout"):
            happened.append(sql)
            with connection.cursor() as cursor:
                cursor.cursor.execute(
                    "UPDATE accounts_pin SET secret_hash = secret_hash || 'x', registration_lock = true"
                )
        return execute(sql, params, many, context)

    with connection.execute_wrapper(just_before_the_transaction):
        refused = register(laptop, token, pin=pin)
    assert (refused.status, len(happened)) == (423, 1)
    assert Device.objects.count() == 1


def test_warnings_do_not_flood_but_every_try_is_told(locked_phone: Installation, warned: list[str]) -> None:
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    for _ in range(4):
        register(laptop, token)
    assert len(warned) == 1
    for _ in range(2):
        register(laptop, token, pin="0000")
    assert len(warned) == 3


def test_a_replayed_registration_is_the_same_device_and_meets_the_lock_again(locked_phone: Installation) -> None:
    laptop = locked_phone.beside()
    token, device = laptop.prove_number(), laptop.device_input()
    recorded = {"registration_token": token, "device": device, "pin": PIN}
    first, again = (Http().post("auth/register-device", recorded) for _ in range(2))
    assert (first.status, again.status) == (201, 201)
    assert first.body["device_id"] == again.body["device_id"]
    assert Device.objects.count() == 2
    assert Http(first.body["access_token"]).get("profile").code == "INVALID_TOKEN"
    without_pin = Http().post("auth/register-device", recorded | {"pin": None})
    assert without_pin.status == 423
    assert Http(again.body["access_token"]).get("profile").status == 200
    elsewhere = Http().post("auth/register-device", recorded | {"device": locked_phone.beside().device_input()})
    assert (elsewhere.status, elsewhere.code) == (401, "INVALID_TOKEN")


def test_operators_see_how_often_pins_were_wrong_and_registrations_were_stopped(locked_phone: Installation) -> None:
    before = msgspec.structs.replace(counts)
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    register(laptop, token)
    register(laptop, token, pin="0000")
    assert counts.registrations_stopped == before.registrations_stopped + 2
    assert counts.pins_wrong == before.pins_wrong + 1


def test_no_lock_ends_because_its_account_was_blocked_or_the_server_was_restored(locked_phone: Installation) -> None:
    laptop = locked_phone.beside()
    token = laptop.prove_number()
    block_user(UUID(locked_phone.user_id))
    days_pass(8)
    unblock_user(UUID(locked_phone.user_id))
    assert register(laptop, token).status == 423
    days_pass(8)
    usage.renew_locked()
    assert register(laptop, token).status == 423
