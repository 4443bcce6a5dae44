"""Who finds whom: nobody learns that somebody is there who does not want to be found."""

import hashlib
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from tests import ranks
from tests.cast import Answer, Installation, any_phone_number, b64

pytestmark = pytest.mark.django_db


def phone_hash(number: str) -> str:
    return b64(hashlib.sha256(number.encode()).digest())


def look_up(caller: Installation, **inputs: Any) -> Answer:
    return caller.http.post("users/lookup", inputs)


def hide(person: Installation) -> None:
    assert person.http.put("settings/phone_discovery", {"value": False}).status == 200


def block(person: Installation, other: Installation) -> None:
    assert person.http.put(f"relationships/{other.user_id}", {"state": "blocked"}).status == 200


def test_who_does_not_want_to_be_found_by_number_is_found_by_name_alone(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    bob_phone.http.patch("profile", {"username": "bob"})
    assert look_up(alice_phone, phone_hashes=[phone_hash(bob_phone.phone_number)]).body["items"]
    hide(bob_phone)
    assert look_up(alice_phone, phone_hashes=[phone_hash(bob_phone.phone_number)]).body == {"items": []}
    [found] = look_up(alice_phone, usernames=["bob"]).body["items"]
    assert found["user"]["user_id"] == bob_phone.user_id


def test_whoever_blocks_somebody_is_not_found_by_them(alice_phone: Installation, mallory: Installation) -> None:
    alice_phone.http.patch("profile", {"username": "alice"})
    block(alice_phone, mallory)
    number = phone_hash(alice_phone.phone_number)
    assert look_up(mallory, usernames=["alice"], phone_hashes=[number]).body == {"items": []}
    mallory.http.patch("profile", {"username": "mallory"})
    assert look_up(alice_phone, usernames=["mallory"]).body["items"]


def test_a_blocked_account_is_not_found(alice_phone: Installation, bob_phone: Installation) -> None:
    bob_phone.http.patch("profile", {"username": "bob"})
    User.objects.filter(pk=bob_phone.user_id).update(is_active=False)
    number = phone_hash(bob_phone.phone_number)
    assert look_up(alice_phone, usernames=["bob"], phone_hashes=[number]).body == {"items": []}


def test_unknown_hidden_and_blocking_people_are_answered_alike(
    alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    hide(bob_phone)
    block(alice_phone, mallory)
    numbers = [any_phone_number(), bob_phone.phone_number, alice_phone.phone_number]
    answers = [look_up(mallory, phone_hashes=[phone_hash(number)]) for number in numbers]
    assert {(answer.status, str(answer.body), str(sorted(answer.headers))) for answer in answers} == {
        (200, str({"items": []}), str(sorted(answers[0].headers)))
    }


def test_the_time_of_an_answer_does_not_tell_unknown_from_hidden_or_blocking(
    alice_phone: Installation, bob_phone: Installation, mallory: Installation, settings: Any
) -> None:
    settings.LIMITS = settings.LIMITS | {"LOOKUPS_PER_15_MIN": [0]}
    hide(bob_phone)
    block(alice_phone, mallory)

    def ask(number: Callable[[], str]) -> Callable[[], object]:
        return lambda: look_up(mallory, phone_hashes=[phone_hash(number())])

    unknown = ask(any_phone_number)
    for known in (bob_phone.phone_number, alice_phone.phone_number):
        assert ranks.come_from_one_distribution(unknown, ask(lambda known=known: known))  # type: ignore[misc]


@pytest.mark.parametrize("batch", [ranks.BATCH, 150])
def test_the_comparison_of_times_sees_a_difference(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise no test that asks it would mean anything. On a clock of its own, for which a busy machine is no slower."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def quick() -> None:
        now[0] += random.uniform(1.0, 2.0)  # noqa: S311  (a load, not a secret)

    def slower() -> None:
        quick()
        now[0] += 0.5

    assert ranks.come_from_one_distribution(quick, quick, batch=batch)
    assert not ranks.come_from_one_distribution(quick, slower, batch=batch)
