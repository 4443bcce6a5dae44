"""What holds for every HTTP call: one shape of refusal, one order of refusals, strict bodies."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from accounts import people
from accounts.code_requests import Reason, TooMany
from accounts.wire.refusals import ChatError
from tests.cast import Answer, Http, Installation

pytestmark = pytest.mark.django_db

PAIRS = "".join(f'"k{number}":1,' for number in range(64))


def raw(
    person: Installation, body: str | bytes, path: str = "profile", method: str = "PATCH", **options: Any
) -> Answer:
    return person.http.send_raw(method, path, body, **options)


@pytest.mark.parametrize(
    "path", ["/nix", "/api", "/api/", "/api/v1", "nix", "profile/", "devices/", "keys/x/y/z", "/health/", "/admin/nix"]
)
def test_what_is_not_there_is_404_in_json(anyone: Http, path: str) -> None:
    answer = anyone.get(path)
    if path == "/admin/nix":
        assert answer.status == 302, "the admin tells strangers nothing, not even what is missing"
        return
    assert (answer.status, answer.body) == (404, {"error": "There is nothing here.", "error_code": "NOT_FOUND"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "profile"),
        ("GET", "auth/refresh"),
        ("POST", "devices"),
        ("PUT", "/health/ready"),
        ("POST", "/"),
        ("GET", "keys"),
    ],
)
def test_another_method_is_405_before_anything_else(anyone: Http, method: str, path: str) -> None:
    answer = anyone.send_raw(method, path, "not json", content_type="text/plain")
    assert (answer.status, answer.code) == (405, "INVALID_REQUEST")
    assert answer.headers["Allow"]


def test_refusals_come_in_order(alice_phone: Installation, bob_phone: Installation) -> None:
    large, path = "x" * 65_537, "devices/x"
    stranger = Http()
    assert stranger.send_raw("POST", path, large, content_type="text/plain").status == 405
    assert stranger.send_raw("PATCH", path, large, content_type="text/plain").status == 401
    assert raw(alice_phone, large, path, content_type="text/plain").status == 413
    assert raw(alice_phone, "x", path, content_type="text/plain").status == 415
    assert raw(alice_phone, "x", path).status == 400
    assert raw(alice_phone, '{"name":""}', path).status == 400
    assert raw(alice_phone, '{"name":"x"}', path).status == 404


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("text/plain", {}),
        ("", {}),
        ("application/x-www-form-urlencoded", {}),
        ("multipart/form-data; boundary=x", {}),
        ("application/json; charset=latin-1", {}),
        ("application/json", {"Content-Encoding": "gzip"}),
    ],
)
def test_a_body_is_uncompressed_json(alice_phone: Installation, content_type: str, headers: dict[str, str]) -> None:
    answer = raw(alice_phone, "{}", content_type=content_type, **headers)
    assert (answer.status, answer.code) == (415, "INVALID_REQUEST")


def test_no_body_is_an_empty_object_and_a_charset_may_be_named(alice_phone: Installation) -> None:
    assert raw(alice_phone, "").status == 200
    assert raw(alice_phone, "{}", content_type="application/json; charset=UTF-8").status == 200
    assert alice_phone.http.post("auth/logout").status == 204


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "5",
        '"x"',
        "null",
        "true",
        "{",
        "{}x",
        "{'bio': 1}",
        '{"bio":"x","bio":"y"}',
        "{" + PAIRS + '"k64":1}',
        '{"x":' + "[" * 16 + "]" * 16 + "}",
        '{"x":' + "[" * 100_00 + "}",
        '{"x":NaN}',
        '{"x":-Infinity}',
        '{"x":1e999}',
        '{"x":' + "9" * 5000 + "}",
        '{"x":"a\\u0000b"}',
        '{"a\\u0000b":1}',
        '{"x":"\\ud800"}',
        '{"\\udc00":1}',
        b'{"x":"\xff"}',
        b'{"x":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        "\x00",
    ],
)
def test_malformed_json_is_400(alice_phone: Installation, body: str | bytes) -> None:
    answer = raw(alice_phone, body)
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "body",
    [
        "{" + PAIRS.rstrip(",") + "}",
        '{"x":' + "[" * 15 + "]" * 15 + "}",
        '{"bio":"\\ud83d\\ude00"}',
        '{"unknown":{"a":[1,2.5,null]}}',
        '  {"bio" : "x"}\n',
    ],
)
def test_well_formed_json_at_its_limits_is_taken(alice_phone: Installation, body: str) -> None:
    assert raw(alice_phone, body).status == 200


@pytest.mark.parametrize("value", [5, 1.5, True, [], {}, "x" * 501])
def test_nothing_is_converted(alice_phone: Installation, value: object) -> None:
    answer = alice_phone.http.patch("profile", {"bio": value})
    assert (answer.status, answer.body["field"]) == (400, "bio")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device.registration_id", "5"),
        ("device.registration_id", 5.0),
        ("device.registration_id", True),
        ("device.registration_id", 0),
        ("device.registration_id", 16384),
        ("device.device_uuid", "0199A6C2-41B7-7C1E-9F0A-3D2E5B8C7A10"),
        ("device.device_uuid", "0199a6c241b77c1e9f0a3d2e5b8c7a10"),
        ("device.platform", "beos"),
        ("device.identity_key", "BWk3"[:3]),
        ("device.identity_key", "BWk3\n"),
        ("device.identity_key", "BWk_"),
        ("device.signed_prekey", []),
        ("device.signed_prekey", None),
        ("device.one_time_prekeys", None),
        ("device.one_time_prekeys", {}),
        ("device.one_time_prekeys.0", 5),
        ("device.one_time_prekeys.0.key_id", -1),
        ("device.one_time_prekeys.0.key_id", 2**24),
        ("device.pq_prekeys", 5),
    ],
)
def test_the_wrong_field_is_named(anyone: Http, field: str, value: object) -> None:
    body: Any = {"registration_token": "x", "device": Installation().device_input(prekeys=2)}
    target, names = body, field.split(".")
    for name in names[:-1]:
        target = target[int(name) if name.isdigit() else name]
    target[int(names[-1]) if names[-1].isdigit() else names[-1]] = value
    answer = anyone.post("auth/register-device", body)
    assert (answer.status, answer.code, answer.body.get("field")) == (400, "INVALID_REQUEST", field)


def test_null_is_left_out(anyone: Http) -> None:
    device = Installation().device_input() | {
        "last_resort_prekey": None,
        "pq_prekeys": None,
        "pq_last_resort_prekey": None,
    }
    answer = anyone.post(
        "auth/register-device", {"registration_token": "x", "device": device, "pin": None, "unlink_device_id": None}
    )
    assert answer.code == "INVALID_TOKEN", "the form was fine"


@pytest.mark.parametrize("value", [1001, "0", "01", "-1", "1e3", str(2**63), " 1"])
def test_ids_in_bodies_are_decimal_strings(anyone: Http, value: object) -> None:
    body = {"registration_token": "x", "device": Installation().device_input(), "unlink_device_id": value}
    assert anyone.post("auth/register-device", body).body["field"] == "unlink_device_id"


def test_where_prekeys_travel_half_a_megabyte_fits(alice_phone: Installation) -> None:
    filler = {"x": "y" * (512 * 1024 - 8)}
    assert len(json.dumps(filler)) == 512 * 1024 + 1
    assert alice_phone.http.put("keys", filler).body == {
        "error": "The request is larger than allowed.",
        "error_code": "TOO_LARGE",
        "limit": "body",
        "max": 512 * 1024,
    }
    filler["x"] = filler["x"][1:]
    assert alice_phone.http.put("keys", filler).status == 200


def test_a_body_over_djangos_own_limit_is_413_too(alice_phone: Installation) -> None:
    assert raw(alice_phone, "x" * (3 * 1024 * 1024 + 1)).code == "TOO_LARGE"


def test_a_store_that_is_down_is_503_with_a_time_to_come_back(
    alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(people, "access_user", down)
    answer = alice_phone.http.get("profile")
    assert (answer.status, answer.code) == (503, "STORAGE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_fault_of_ours_is_told_and_logged_without_what_was_sent(
    alice_phone: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(user_id: object, changes: dict[str, str]) -> None:
        raise RuntimeError(changes["bio"])

    monkeypatch.setattr(people, "change_profile", broken)
    with caplog.at_level(logging.DEBUG):
        answer = alice_phone.http.patch("profile", {"bio": "a-secret-thought"})
    assert (answer.status, answer.body) == (
        500,
        {"error": "Something went wrong on the server.", "error_code": "INTERNAL_ERROR"},
    )
    assert "RuntimeError" in caplog.text
    assert "a-secret-thought" not in caplog.text


def test_an_unknown_host_is_refused(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    response = Client().get("/", headers={"Host": "evil.example.org"})
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_REQUEST")


def test_cookies_open_nothing(alice_phone: Installation) -> None:
    client = Client()
    client.cookies["access_token"] = alice_phone.access_token
    assert client.get("/api/v1/profile").status_code == 401


def test_nobody_keeps_answers(alice_phone: Installation) -> None:
    assert alice_phone.http.get("profile").headers["Cache-Control"] == "no-store"
    assert Http().get("profile").headers["Cache-Control"] == "no-store"


def test_cors_is_for_the_listed_origins_alone(settings: Any, anyone: Http) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    allowed = anyone.send_raw("GET", "profile", "", Origin="https://app.example.org")
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    assert (
        "access-control-allow-origin"
        not in anyone.send_raw("GET", "profile", "", Origin="https://evil.example.org").headers
    )


def every_refusal() -> list[type[ChatError]]:
    found, open_ends = [], [ChatError]
    while open_ends:
        one = open_ends.pop()
        found.append(one)
        open_ends += one.__subclasses__()
    return found


MADE_OF: dict[type[ChatError], Callable[[], ChatError]] = {TooMany: lambda: TooMany(Reason.TOO_SOON, 2)}


@pytest.mark.parametrize("refusal", every_refusal())
def test_every_refusal_has_a_sentence_and_a_status(refusal: type[ChatError]) -> None:
    body = MADE_OF.get(refusal, lambda: refusal(retry_after=1.2))().body()
    assert body["error"].endswith(".")
    assert body["error_code"] == refusal.code
    assert 400 <= refusal.status <= 503
    assert body["retry_after_seconds"] == 2
