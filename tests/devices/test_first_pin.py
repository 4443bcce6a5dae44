"""Who chooses the first PIN: whoever has it can shut the others out, so it is the primary's alone, as letting devices in is."""

from typing import Any
from uuid import UUID

import pytest

from accounts import pin_hashes
from accounts.models import Pin, SecurityEvent
from tests.cast import Answer, Installation
from tests.linking import linked

pytestmark = pytest.mark.django_db

PIN = "2580"


def choose(by: Installation, pin: str = PIN, **more: Any) -> Answer:
    return by.http.put("auth/pin", {"pin": pin} | more)


def test_a_linked_device_does_not_choose_the_first_pin_but_changes_one_that_it_knows(alice_phone: Installation) -> None:
    laptop = linked(alice_phone, "Alice's laptop")
    for refused in (choose(laptop), choose(laptop, registration_lock=True), choose(laptop, current_pin="0000")):
        assert (refused.status, refused.code) == (403, "FORBIDDEN")
    assert not Pin.objects.exists()
    assert not SecurityEvent.objects.filter(kind="pin_set").exists()
    assert alice_phone.http.delete(f"devices/{laptop.device_id}").status == 204, "the phone is not shut out"

    tablet = linked(alice_phone, "Alice's tablet")
    assert choose(alice_phone).status == 200
    assert (choose(tablet, "1379").status, choose(tablet, "1379", current_pin=PIN).status) == (401, 200)


def test_the_former_primary_does_not_choose_it_either(alice_phone: Installation) -> None:
    laptop = alice_phone.beside("Alice's laptop").register()
    assert choose(alice_phone).code == "FORBIDDEN"
    assert choose(laptop).status == 200


def test_a_rank_that_is_lost_while_the_pin_is_hashed_counts_no_more(
    alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = pin_hashes.hash_pin

    def hash_while_the_laptop_comes(user_id: UUID, pin: str) -> str:
        alice_phone.beside("Alice's laptop").register()
        return really(user_id, pin)

    monkeypatch.setattr(pin_hashes, "hash_pin", hash_while_the_laptop_comes)
    assert choose(alice_phone).code == "FORBIDDEN"
    assert not Pin.objects.exists()
