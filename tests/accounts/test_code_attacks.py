"""Attacks on signing in: guessing, making the installation text for money, replaying, forging addresses, and telling numbers apart by time."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.db import connection

from accounts import code_requests, otp, valkey
from accounts.wire.refusals import InvalidOtp, RateLimited
from chatproject.asgi import django_application
from devices.models import Device
from messaging import handshakes
from tests import ranks
from tests.accounts.provider import provider
from tests.cast import Http, Installation, any_phone_number, last_code, messages_to

CROWD = 6


@pytest.fixture(autouse=True)
def _with_services(services: None) -> None:
    """All of these need a gateway, and a Redis in which nobody was counted yet."""
    valkey.client().flushdb()


def all_at_once(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """What `work` makes of each item, a crowd of threads at it."""

    def one(item: Any) -> Any:
        try:
            return work(item)
        finally:
            connection.close()

    with ThreadPoolExecutor(CROWD) as crowd:
        return list(crowd.map(one, items))


# --- guessing --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_ten_thousand_guesses_at_once_five_are_compared() -> None:
    number = any_phone_number()
    session_id = otp.request_code(number, "127.0.0.1").session_id
    code = int(last_code(number))

    def guess(index: int) -> int:
        with pytest.raises(InvalidOtp) as refused:
            otp.verify_code(session_id, f"{(code + index) % 10**6:06}")
        return int(refused.value.facts["attempts_remaining"])

    left = Counter(all_at_once(guess, range(1, 10_001)))
    assert left == {4: 1, 3: 1, 2: 1, 1: 1, 0: 9_996}
    assert valkey.client().hget(code_requests.session_key(session_id), "checks") == b"5"
    assert guess(0) == 0, "the right one comes too late"


@pytest.mark.django_db
def test_another_session_of_the_number_opens_nothing_and_has_its_own_checks(settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_DELAYS": [0]}
    number = any_phone_number()
    sessions = [otp.request_code(number, "127.0.0.1").session_id for _ in range(2)]
    first, second = (message["code"] for message in messages_to(number))
    if first != second:
        with pytest.raises(InvalidOtp):
            otp.verify_code(sessions[0], second)
        with pytest.raises(InvalidOtp):
            otp.verify_code(sessions[1], first)
    assert otp.verify_code(sessions[1], second) != otp.verify_code(sessions[0], first)


# --- text messages for money -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_pumped_country_gets_its_budget_and_the_provider_is_asked_no_more(settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_PER_COUNTRY_DAY": [20]}
    asked = itertools.count()

    def pump(index: int) -> bool:
        if next(asked) == 60:
            valkey.client().flushdb()
        try:
            otp.request_code(any_phone_number(), f"100.64.{index}.1")
        except RateLimited:
            return False
        return True

    with provider() as telco:
        settings.SMS_URL = telco.url
        assert sum(all_at_once(pump, range(150))) == 20
        assert len(telco.taken) == 20


@pytest.mark.django_db(transaction=True)
def test_a_number_is_texted_five_times_however_many_ask_from_everywhere(settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_DELAYS": [0]}
    number = any_phone_number()

    def pester(index: int) -> bool:
        try:
            otp.request_code(number, f"100.65.{index}.1")
        except RateLimited:
            return False
        return True

    with provider() as telco:
        settings.SMS_URL = telco.url
        assert sum(all_at_once(pester, range(60))) == 5
        assert len(telco.messages_to(number)) == 5


# --- replaying -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_recorded_sign_in_changes_nothing_when_it_is_played_again() -> None:
    phone, mallory = Installation(), Http()
    asked = phone.http.post("auth/request-otp", {"phone_number": phone.phone_number})
    proof = {"otp_session_id": asked.body["otp_session_id"], "code": last_code(phone.phone_number)}
    token = phone.http.post("auth/verify-otp", proof).body["registration_token"]
    registration = {"registration_token": token, "device": phone.device_input()}
    phone.signed_in(phone.http.post("auth/register-device", registration).body)
    before = Device.objects.values_list("pk", "identity_key", "active").get()
    assert mallory.post("auth/request-otp", {"phone_number": phone.phone_number}).status == 200
    again = mallory.post("auth/verify-otp", proof)
    assert (again.status, again.body["registration_token"]) == (200, token)
    stolen = mallory.post("auth/register-device", registration | {"device": Installation().device_input()})
    assert (stolen.status, stolen.code) == (401, "INVALID_TOKEN"), "the token is for the device that used it first"
    assert Device.objects.values_list("pk", "identity_key", "active").get() == before


@pytest.mark.django_db
def test_what_has_ended_stays_ended() -> None:
    number = any_phone_number()
    session_id = otp.request_code(number, "127.0.0.1").session_id
    verified = otp.verify_code(session_id, last_code(number))
    store = valkey.client()
    assert 0 < store.ttl(code_requests.session_key(session_id)) <= otp.CODE_SECONDS
    assert 0 < store.ttl(otp._token_key(verified.registration_token)) <= otp.TOKEN_SECONDS
    store.delete(code_requests.session_key(session_id), otp._token_key(verified.registration_token))
    with pytest.raises(InvalidOtp) as refused:
        otp.verify_code(session_id, last_code(number))
    assert refused.value.facts == {"attempts_remaining": 0}
    body = {"registration_token": verified.registration_token, "device": Installation().device_input()}
    assert Http().post("auth/register-device", body).code == "INVALID_TOKEN"


# --- forged addresses ------------------------------------------------------------------------------------------------------------------

FORGED = [
    {"X-Forwarded-For": "{}"},
    {"X_Forwarded_For": "{}"},
    {"x-forwarded_for": "{}"},
    {"Forwarded": "for={}"},
    {"X-Real-IP": "{}"},
    {"Remote-Addr": "{}", "REMOTE_ADDR": "{}", "Client-IP": "{}", "True-Client-IP": "{}"},
]


def from_address(peer: str) -> httpx.AsyncClient:
    """A client whose bytes come from there, headers as it likes."""
    application: Any = django_application
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(application, client=(peer, 4711)), base_url="http://testserver"
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("peer", ["203.0.113.9", "127.7.7.7"])
async def test_no_header_makes_a_stranger_another_client(settings: Any, peer: str) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_PER_IP_HOUR": [1]}
    async with from_address(peer) as client:
        forged = [
            {},
            *({name: value.format(f"8.8.8.{n}") for name, value in one.items()} for n, one in enumerate(FORGED)),
        ]
        answers = [
            await client.post("/api/v1/auth/request-otp", json={"phone_number": any_phone_number()}, headers=headers)
            for headers in forged
        ]
    assert [answer.status_code for answer in answers] == [200] + [429] * len(FORGED)


@pytest.mark.django_db(transaction=True)
async def test_behind_a_proxy_only_what_the_proxy_has_added_counts(settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_PER_IP_HOUR": [1]}
    settings.TRUSTED_PROXIES = ["10.0.0.5"]
    async with from_address("10.0.0.5") as client:

        async def status(*forwarded: tuple[str, str]) -> int:
            answer = await client.post(
                "/api/v1/auth/request-otp", json={"phone_number": any_phone_number()}, headers=list(forwarded)
            )
            return answer.status_code

        assert await status(("X-Forwarded-For", "203.0.113.9")) == 200
        assert await status(("X-Forwarded-For", "8.8.8.8, 203.0.113.9")) == 429
        assert await status(("X-Forwarded-For", "8.8.8.8"), ("X-Forwarded-For", "203.0.113.9")) == 429
        assert await status(("X-Forwarded-For", "203.0.113.9"), ("X_Forwarded_For", "8.8.8.8")) == 429
        assert await status(("X_Forwarded_For", "8.8.4.4"), ("X-Forwarded-For", "203.0.113.9")) == 429
        assert await status(("X-Forwarded-For", "127.0.0.1, 203.0.113.9")) == 429, "nobody from outside is loopback"
        assert await status(("X-Forwarded-For", "203.0.113.10")) == 200


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"x_forwarded_for"])
async def test_a_socket_is_counted_by_its_own_address_too(settings: Any, header: bytes) -> None:
    settings.LIMITS = settings.LIMITS | {"HANDSHAKES_PER_MIN": [1]}

    async def open_from(forged: bytes) -> None:
        scope = {"subprotocols": [], "query_string": b"", "client": ("203.0.113.9", 1), "headers": [(header, forged)]}
        await handshakes.check(scope)

    await open_from(b"8.8.8.8")
    with pytest.raises(handshakes.Refused) as refused:
        await open_from(b"8.8.4.4")
    assert refused.value.status == 429


# --- telling numbers apart by time -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_time_tells_whether_a_number_has_an_account(settings: Any, alice_phone: Installation) -> None:
    settings.LIMITS = settings.LIMITS | {name: [0] for name in settings.LIMITS if name.startswith("OTP_")}
    bob_phone = Installation(name="Bob's phone").register()
    # As many unknown numbers, so that each is asked for as often.
    known, unknown = (
        itertools.cycle(numbers)
        for numbers in (
            [alice_phone.phone_number, bob_phone.phone_number],
            [any_phone_number(), any_phone_number()],
        )
    )
    assert ranks.come_from_one_distribution(
        lambda: otp.request_code(next(known), "127.0.0.1"),
        lambda: otp.request_code(next(unknown), "127.0.0.1"),
        batch=150,
        batches=3,
    )
