"""Unlinking another device takes the account's PIN, where there is one."""

from uuid import UUID

import pytest

from accounts import pins
from accounts.models import Pin
from tests.cast import Answer, Installation

pytestmark = pytest.mark.django_db

PIN = "2580"


@pytest.fixture
def alice_laptop(alice_phone: Installation) -> Installation:
    """Alice's second device; as the newer one it is the primary. She has a PIN."""
    laptop = alice_phone.beside(name="Alice's laptop").register()
    assert laptop.http.put("auth/pin", {"pin": PIN}).status == 200
    return laptop


def unlink(by: Installation, device: Installation, pin: str | None = None) -> Answer:
    return by.http.delete(f"devices/{device.device_id}", {"pin": pin})


def tries_used() -> int:
    return len(Pin.objects.get().tries)


def test_the_primary_unlinks_others_with_the_pin(alice_phone: Installation, alice_laptop: Installation) -> None:
    for pin, left in ((None, 5), ("0000", 4)):
        refused = unlink(alice_laptop, alice_phone, pin)
        assert (refused.status, refused.code, refused.body["attempts_remaining"]) == (401, "UNAUTHORIZED", left)
    assert alice_phone.http.get("profile").status == 200
    assert unlink(alice_laptop, alice_phone, PIN).status == 204
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"


def test_a_pin_that_was_changed_while_it_was_checked_unlinks_nothing(
    alice_phone: Installation, alice_laptop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = pins.check_pin

    def change_it_then(user_id: UUID, pin: str | None) -> str | None:
        current = really(user_id, pin)
        Pin.objects.update(secret_hash=f"after {current}")
        return current

    monkeypatch.setattr(pins, "check_pin", change_it_then)
    assert unlink(alice_laptop, alice_phone, PIN).code == "UNAUTHORIZED"
    assert alice_phone.http.get("profile").status == 200


def test_a_device_leaves_by_itself_without_it(alice_phone: Installation, alice_laptop: Installation) -> None:
    assert unlink(alice_phone, alice_phone).status == 204
    assert alice_laptop.http.get("profile").status == 200


def test_whoever_may_not_unlink_anyway_guesses_nothing(
    alice_phone: Installation, alice_laptop: Installation, mallory: Installation
) -> None:
    for pin in (PIN, "0000"):
        assert unlink(alice_phone, alice_laptop, pin).status == 403
        assert unlink(mallory, alice_phone, pin).status == 404
    assert tries_used() == 0


def test_with_no_try_left_even_the_right_pin_unlinks_nothing(
    alice_phone: Installation, alice_laptop: Installation
) -> None:
    for _ in range(5):
        assert unlink(alice_laptop, alice_phone, "0000").status == 401
    assert unlink(alice_laptop, alice_phone, PIN).status == 429
    assert alice_phone.http.get("profile").status == 200
