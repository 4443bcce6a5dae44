"""Codes by SMS: what is sent, what is compared, and what an attacker gets."""

import json
import socket
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts import valkey
from tests.cast import Answer, Http, Installation, any_phone_number, last_code, messages_to
from tests.deadlines import promised

pytestmark = pytest.mark.django_db


def ask(number: str, client: Http | None = None) -> Answer:
    return (client or Http()).post("auth/request-otp", {"phone_number": number})


def check(session_id: str, code: str) -> Answer:
    return Http().post("auth/verify-otp", {"otp_session_id": session_id, "code": code})


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


@pytest.fixture(autouse=True)
def _with_services(services: None) -> None:
    """All of these need Redis and an SMS file."""


def test_a_code_arrives_and_is_exchanged_for_a_registration_token() -> None:
    number = any_phone_number()
    asked = ask(number)
    assert asked.status == 200
    assert asked.body == {
        "otp_session_id": asked.body["otp_session_id"],
        "expires_in_seconds": 180,
        "retry_after_seconds": 60,
    }
    [message] = messages_to(number)
    assert message.keys() == {"to", "body", "code", "sent_at"}
    assert (message["to"], message["body"]) == (number, f"Your code is {message['code']}")
    answer = check(asked.body["otp_session_id"], message["code"])
    assert answer.status == 200
    assert answer.body == {
        "registration_token": answer.body["registration_token"],
        "expires_in_seconds": 600,
        "is_new_user": True,
        "requires_pin": False,
    }


def test_the_right_code_again_gives_the_same_answer() -> None:
    phone = Installation()
    session_id = ask(phone.phone_number).body["otp_session_id"]
    code = last_code(phone.phone_number)
    first = check(session_id, code).body
    body = {"registration_token": first["registration_token"], "device": phone.device_input()}
    assert phone.http.post("auth/register-device", body).status == 201
    assert [check(session_id, code).body for _ in range(7)] == [first] * 7


def test_five_wrong_codes_and_the_right_one_comes_too_late() -> None:
    number = any_phone_number()
    session_id = ask(number).body["otp_session_id"]
    code = last_code(number)
    refused = [check(session_id, wrong(code)) for _ in range(6)]
    assert {(answer.status, answer.code) for answer in refused} == {(400, "INVALID_OTP")}
    assert [answer.body["attempts_remaining"] for answer in refused] == [4, 3, 2, 1, 0, 0]
    assert check(session_id, code).body["attempts_remaining"] == 0


@pytest.mark.django_db(transaction=True)
def test_of_many_guesses_at_once_five_are_compared() -> None:
    number = any_phone_number()
    session_id = ask(number).body["otp_session_id"]
    code = last_code(number)

    def guess(index: int) -> Answer:
        try:
            return check(session_id, f"{(int(code) + 1 + index) % 10**6:06}")
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(guess, range(200)))
    left = Counter(answer.body["attempts_remaining"] for answer in answers)
    assert left == {4: 1, 3: 1, 2: 1, 1: 1, 0: 196}


def test_unknown_sessions_and_another_sessions_code_are_refused() -> None:
    first, second = any_phone_number(), any_phone_number()
    ask(first)
    session_id = ask(second).body["otp_session_id"]
    assert check(str(uuid.uuid4()), last_code(first)).body["attempts_remaining"] == 0
    answer = check(session_id, last_code(first))
    assert answer.code == "INVALID_OTP" or last_code(first) == last_code(second)


def test_a_second_code_waits_longer_each_time_and_older_sessions_stay_valid() -> None:
    number = any_phone_number()
    first = ask(number)
    code = last_code(number)
    waits = [first.body["retry_after_seconds"]]
    too_soon = ask(number)
    assert (too_soon.status, too_soon.code) == (429, "RATE_LIMITED")
    assert 55 <= too_soon.body["retry_after_seconds"] <= 60
    assert int(too_soon.headers["Retry-After"]) == too_soon.body["retry_after_seconds"]
    for _ in range(3):
        let_the_delay_pass()
        waits.append(ask(number).body["retry_after_seconds"])
    assert waits == [60, 120, 300, 600]
    assert check(first.body["otp_session_id"], code).status == 200
    assert ask(number).body["retry_after_seconds"] == 60, "the right code resets its number's delay"


def let_the_delay_pass() -> None:
    """As if the last request had been an hour ago."""
    store = valkey.client()
    for key in store.scan_iter("otp:number:*"):
        store.hset(key, "next_at", 0)


def test_a_number_gets_five_codes_a_day() -> None:
    number = any_phone_number()
    for _ in range(5):
        assert ask(number).status == 200
        let_the_delay_pass()
    refused = ask(number)
    assert refused.code == "RATE_LIMITED"
    assert 86_000 < refused.body["retry_after_seconds"] <= 86_400
    assert len(messages_to(number)) == 5


def test_an_address_gets_ten_codes_an_hour_and_its_neighbour_its_own_ten() -> None:
    here, neighbour = Http(), Http()
    assert [ask(any_phone_number(), here).status for _ in range(11)] == [200] * 10 + [429]
    assert ask(any_phone_number(), neighbour).status == 200


def test_limits_of_nought_are_off(settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_DELAYS": [0], "OTP_PER_NUMBER_DAY": [0], "OTP_PER_IP_HOUR": [0]}
    number, here = any_phone_number(), Http()
    assert [ask(number, here).status for _ in range(12)] == [200] * 12


def test_known_and_unknown_numbers_get_the_same_answer(alice_phone: Installation) -> None:
    known, unknown = ask(alice_phone.phone_number), ask(any_phone_number())
    assert (known.status, known.body.keys()) == (unknown.status, unknown.body.keys())
    assert known.body["retry_after_seconds"] == unknown.body["retry_after_seconds"]
    assert check(known.body["otp_session_id"], last_code(alice_phone.phone_number)).body["is_new_user"] is False


def test_without_redis_nobody_signs_in_and_hears_so_soon(settings: Any) -> None:
    phone = Installation()
    session_id, token = ask(phone.phone_number).body["otp_session_id"], phone.beside()
    body = {"registration_token": "x", "device": token.device_input()}
    settings.REDIS_URL = "unix:///nowhere.sock"
    began = time.monotonic()
    answers = [ask(phone.phone_number), check(session_id, "000000"), Http().post("auth/register-device", body)]
    assert time.monotonic() - began < promised(3)
    assert {(answer.status, answer.code) for answer in answers} == {(503, "STORAGE_UNAVAILABLE")}
    assert all(answer.headers["Retry-After"] for answer in answers)


def test_a_silent_redis_counts_as_gone_after_half_a_second(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        began = time.monotonic()
        assert ask(any_phone_number()).code == "STORAGE_UNAVAILABLE"
        assert time.monotonic() - began < promised(4)


def test_a_gateway_that_fails_costs_the_number_nothing(settings: Any) -> None:
    number, here, working = any_phone_number(), Http(), settings.SMS_URL
    settings.SMS_URL = "file:///nowhere/at/all.jsonl"
    assert [ask(number, here).code for _ in range(11)] == ["STORAGE_UNAVAILABLE"] * 11
    settings.SMS_URL = working
    assert ask(number, here).body["retry_after_seconds"] == 60


def test_redis_holds_neither_codes_nor_tokens_nor_numbers() -> None:
    phone = Installation()
    session_id = ask(phone.phone_number).body["otp_session_id"]
    code = last_code(phone.phone_number)
    token = check(session_id, code).body["registration_token"]
    phone.http.post("auth/register-device", {"registration_token": token, "device": phone.device_input()})
    values = everything_in_redis()
    assert any(b"otp:session:" in value for value in values)
    assert not [
        value
        for value in values
        if token.encode() in value or phone.phone_number[1:].encode() in value or value == code.encode()
    ]


def everything_in_redis() -> list[Any]:
    store = valkey.client()
    found: list[Any] = []
    for key in store.scan_iter():
        kind = store.type(key)
        found.append(key)
        if kind == b"hash":
            found += [item for pair in store.hgetall(key).items() for item in pair]
        elif kind == b"list":
            found += store.lrange(key, 0, -1)
        elif kind == b"string":
            found.append(store.get(key))
    return found


@pytest.mark.parametrize(
    "number",
    [
        "",
        "66812345678",
        "+0812345678",
        "+66 81 234 5678",
        "+6681234567a",
        "+" + "9" * 16,
        "+12",
        "+99912345678",
        "+66812345678\n",
        66812345678,
        None,
    ],
)
def test_only_possible_numbers_are_texted(number: object) -> None:
    refused = Http().post("auth/request-otp", {"phone_number": number})
    assert (refused.status, refused.code, refused.body["field"]) == (400, "INVALID_REQUEST", "phone_number")


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345x", "\uff11" * 6, 123456, None])
def test_a_code_is_six_digits(code: object) -> None:
    refused = Http().post("auth/verify-otp", {"otp_session_id": str(uuid.uuid4()), "code": code})
    assert (refused.status, refused.body["field"]) == (400, "code")


def test_the_console_gateway_prints(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.SMS_URL = "console://"
    number = any_phone_number()
    ask(number)
    assert f"SMS to {number}: Your code is " in capsys.readouterr().out


def test_the_sms_file_is_readable_by_its_owner_alone(settings: Any) -> None:
    ask(any_phone_number())
    path = Path(settings.SMS_URL.removeprefix("file://"))
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())["sent_at"].endswith("Z")
