"""Profiles, and finding people."""

import hashlib
import uuid
from typing import Any

import pytest

from tests.cast import Answer, Installation, b64

pytestmark = pytest.mark.django_db


def phone_hash(number: str) -> str:
    return b64(hashlib.sha256(number.encode()).digest())


def look_up(caller: Installation, **inputs: Any) -> Answer:
    return caller.http.post("users/lookup", inputs)


def test_bob_says_who_he_is(alice_phone: Installation, bob_phone: Installation) -> None:
    changed = bob_phone.http.patch("profile", {"display_name": "Bob", "username": "bob", "bio": "sails\nand sings"})
    assert changed.status == 200
    assert changed.body == bob_phone.http.get("profile").body
    assert (changed.body["display_name"], changed.body["username"], changed.body["bio"]) == (
        "Bob",
        "bob",
        "sails\nand sings",
    )
    assert changed.body["phone_number"] == bob_phone.phone_number
    assert changed.body["updated_at"] > changed.body["created_at"]
    seen = alice_phone.http.get(f"users/{bob_phone.user_id}").body
    assert seen == {"user_id": bob_phone.user_id, "username": "bob", "display_name": "Bob", "bio": "sails\nand sings"}


def test_what_is_left_out_stays_and_null_clears(bob_phone: Installation) -> None:
    bob_phone.http.patch(
        "profile", {"display_name": "Bob", "username": "bob", "bio": "sails", "avatar": str(uuid.uuid4())}
    )
    cleared = bob_phone.http.patch("profile", {"bio": None, "avatar": None, "username": None}).body
    assert cleared["display_name"] == "Bob"
    assert not cleared.keys() & {"bio", "avatar", "username"}
    refused = bob_phone.http.patch("profile", {"display_name": None})
    assert (refused.status, refused.body["field"]) == (400, "display_name")
    assert bob_phone.http.patch("profile", {}).status == 200


def test_a_username_is_taken_whatever_its_case(alice_phone: Installation, bob_phone: Installation) -> None:
    assert bob_phone.http.patch("profile", {"username": "Bob_42"}).status == 200
    refused = alice_phone.http.patch("profile", {"username": "bOB_42", "display_name": "Alice"})
    assert (refused.status, refused.code, refused.body["field"]) == (409, "CONFLICT", "username")
    assert "display_name" not in alice_phone.http.get("profile").body
    assert bob_phone.http.patch("profile", {"username": "bob_42"}).status == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", "B"),
        ("display_name", "B" * 101),
        ("display_name", "Bob\u202e"),
        ("display_name", "Bob\x07"),
        ("display_name", 5),
        ("username", "bo"),
        ("username", "b" * 31),
        ("username", "böb"),
        ("username", "bob bob"),
        ("username", "bob\n"),
        ("bio", "x" * 501),
        ("avatar", "x"),
        ("avatar", "0199A6C2-41B7-7C1E-9F0A-3D2E5B8C7A10"),
    ],
)
def test_a_profile_is_checked(bob_phone: Installation, field: str, value: object) -> None:
    refused = bob_phone.http.patch("profile", {field: value})
    assert (refused.status, refused.code, refused.body["field"]) == (400, "INVALID_REQUEST", field)


def test_lengths_are_in_characters(bob_phone: Installation) -> None:
    name = "👩‍👩‍👧‍👦é" * 12
    assert bob_phone.http.patch("profile", {"display_name": name}).body["display_name"] == name


def test_people_are_found_by_name_and_by_number(alice_phone: Installation, bob_phone: Installation) -> None:
    bob_phone.http.patch("profile", {"display_name": "Bob", "username": "bob"})
    bob = {"user_id": bob_phone.user_id, "username": "bob", "display_name": "Bob"}
    by_name = look_up(alice_phone, usernames=["BOB", "nobody", "bob"])
    assert by_name.body == {"items": [{"input": "BOB", "user": bob}, {"input": "bob", "user": bob}]}
    number = phone_hash(bob_phone.phone_number)
    assert look_up(alice_phone, phone_hashes=[phone_hash("+66810000000x"), number]).body == {
        "items": [{"input": number, "user": bob}]
    }


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"usernames": []},
        {"usernames": ["x"] * 101},
        {"usernames": "bob"},
        {"phone_hashes": ["x"]},
        {"phone_hashes": [b64(b"x" * 31)]},
    ],
)
def test_a_lookup_has_one_to_a_hundred_inputs(alice_phone: Installation, inputs: dict[str, Any]) -> None:
    assert look_up(alice_phone, **inputs).code == "INVALID_REQUEST"


def test_a_hundred_inputs_in_fifteen_minutes_and_every_one_counts(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    assert look_up(alice_phone, usernames=[f"name{number}" for number in range(60)]).status == 200
    assert look_up(alice_phone, phone_hashes=[phone_hash(str(number)) for number in range(41)]).code == "RATE_LIMITED"
    assert look_up(alice_phone, usernames=["x"] * 40).status == 200
    refused = look_up(alice_phone, usernames=["bob"])
    assert (refused.status, refused.body["retry_after_seconds"] > 800) == (429, True)
    assert look_up(bob_phone, usernames=["bob"]).status == 200


def test_without_redis_nobody_is_looked_up(alice_phone: Installation, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock"
    assert look_up(alice_phone, usernames=["bob"]).code == "STORAGE_UNAVAILABLE"


def test_unknown_and_malformed_people_are_the_same_nothing(alice_phone: Installation) -> None:
    answers = [
        alice_phone.http.get(f"users/{name}")
        for name in (str(uuid.uuid4()), "x", alice_phone.user_id.upper(), "%00", "1001")
    ]
    assert {(answer.status, str(answer.body)) for answer in answers} == {(404, str(answers[0].body))}
