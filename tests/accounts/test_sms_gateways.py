"""Gateways to telephones: what they are given, and what a person hears when one is slow, broken, or wrongly set up."""

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections

from accounts import deliveries, otp, sms, valkey
from accounts.checks import codes_can_be_sent, warn_of_codes_for_nobody
from accounts.counts import counts
from accounts.models import CodeDay
from accounts.wire.refusals import StorageUnavailable
from chatproject.asgi import live
from tests.accounts.provider import Provider, provider
from tests.cast import Answer, Http, any_loopback_address, any_phone_number

pytestmark = pytest.mark.django_db


@pytest.fixture
def telco(services: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """The installation's gateway is a provider that apprise knows, on this machine. Nobody was counted yet."""
    valkey.client().flushdb()
    monkeypatch.setattr(counts, "sms_failures", {})
    monkeypatch.setattr(counts, "codes_sent", {})
    with provider() as telco:
        settings.SMS_URL = telco.url
        # What is known of a gateway is known by its URL, and ports come again.
        deliveries._line.cache_clear()
        yield telco


def ask(number: str, client: Http | None = None) -> Answer:
    return (client or Http()).post("auth/request-otp", {"phone_number": number})


def test_a_code_leaves_through_a_provider(telco: Provider) -> None:
    number = any_phone_number()
    session_id = ask(number).body["otp_session_id"]
    [text] = telco.messages_to(number)
    assert text.startswith("Your code is ")
    typed = {"otp_session_id": session_id, "code": text.removeprefix("Your code is ")}
    assert Http().post("auth/verify-otp", typed).status == 200


def test_a_provider_that_fails_is_an_answer_to_try_again_and_costs_nothing(
    telco: Provider, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_PER_NUMBER_DAY": [1], "OTP_PER_COUNTRY_DAY": [1], "OTP_PER_IP_HOUR": [1]}
    number, here = any_phone_number(), Http(address="198.51.100.7")
    telco.status = 500
    with caplog.at_level(logging.DEBUG):
        refused = ask(number, here)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "STORAGE_UNAVAILABLE", "1")
    assert number[1:] not in caplog.text
    assert counts.sms_failures == {"failed": 1}
    telco.status = 200
    assert ask(number, here).body["retry_after_seconds"] == 60
    assert (counts.codes_sent, CodeDay.objects.get().sent) == ({"TH": 1}, 1)


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_a_provider_that_says_nothing(
    telco: Provider, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_PER_NUMBER_DAY": [2]}
    monkeypatch.setattr(deliveries, "PATIENCE_SECONDS", 0.2)
    number = any_phone_number()
    telco.answers.clear()
    assert [ask(number).code for _ in range(2)] == ["STORAGE_UNAVAILABLE"] * 2, "the next request need not wait"
    assert ask(number).code == "RATE_LIMITED", "what may have left is counted"
    assert counts.sms_failures == {"late": 2}
    assert CodeDay.objects.get().sent == 2


def test_patience_ends_before_a_request_has_to_be_answered() -> None:
    from chatproject.punctual import ANSWER_SECONDS  # noqa: PLC0415  (this app is below that one)

    assert deliveries.PATIENCE_SECONDS + 1 < ANSWER_SECONDS


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_a_provider_keeps_no_connection_and_few_wait_at_once(
    telco: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "AT_ONCE", 1)
    telco.answers.clear()
    held: list[Any] = []

    def wait_for_a_code() -> None:
        held.append(connections["default"])
        try:
            otp.request_code(any_phone_number(), any_loopback_address())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as crowd:
        waiting = crowd.submit(wait_for_a_code)
        assert telco.was_asked.wait(10)
        assert held[0].connection is None
        with pytest.raises(StorageUnavailable):
            otp.request_code(any_phone_number(), any_loopback_address())
        assert (len(telco.taken), counts.sms_failures) == (1, {"busy": 1})
        telco.answers.set()
        waiting.result()


def test_a_provider_that_fails_again_and_again_is_left_alone(
    telco: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "REST_SECONDS", 3600.0)
    telco.status = 503
    codes = [ask(any_phone_number()).code for _ in range(deliveries.FAILURES + 10)]
    assert codes == ["STORAGE_UNAVAILABLE"] * len(codes)
    assert len(telco.taken) == deliveries.FAILURES
    assert counts.sms_failures == {"failed": deliveries.FAILURES, "resting": 10}
    assert [record.levelname for record in caplog.records if "gateway" in record.getMessage()] == ["WARNING"]


def test_numbers_that_a_provider_refuses_are_no_failure_of_it_and_cost_who_asks(telco: Provider, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"OTP_PER_IP_HOUR": [deliveries.FAILURES + 1], "OTP_PER_NUMBER_DAY": [1]}
    mallory, number = Http(address="198.51.100.7"), any_phone_number()
    telco.status = 400
    refused = [ask(number, mallory) for _ in range(deliveries.FAILURES + 2)]
    assert [answer.status for answer in refused] == [503] * (deliveries.FAILURES + 1) + [429]
    assert counts.sms_failures == {"refused": deliveries.FAILURES + 1}
    telco.status = 200
    assert ask(number).status == 200, "nobody else is kept from a code, and the number has not used one up"


@pytest.mark.parametrize(
    ("reported", "is_refused"),
    [
        ("Failed to send Twilio notification to +66811111111: The 'To' number is not valid, error=21211.", True),
        ("Failed to send Twilio notification to +66811111111: Authenticate, error=20003.", False),
        ("Failed to send Twilio notification to +66811111111: The 'From' number is not valid, error=21606.", False),
        ("Failed to send Sinch notification to +66811111111: error=syntax_invalid_parameter_format.", True),
        ("Failed to send Vonage notification to 66811111111: Bad Request, error=400.", True),
        *((f"Failed to send JSON POST notification: error={status}.", False) for status in (302, 401, 403, 429, 503)),
        ("A Connection error occurred sending Vonage:66811111111 notification.", False),
    ],
)
def test_whose_fault_it_was_is_told_by_the_status_or_the_providers_own_code(*, reported: str, is_refused: bool) -> None:
    entry = type("Entry", (), {"message": reported})
    result = type("Result", (), {"logs": lambda _: [entry]})()
    assert sms._is_about_the_message(result) is is_refused


def test_a_provider_that_nobody_can_reach_has_failed(settings: Any) -> None:
    with pytest.raises(sms.SmsUnavailable) as raised:
        sms.AppriseGateway("json://127.0.0.1:1/{to}").send(sms.CodeMessage(any_phone_number(), "123456"))
    assert raised.type is sms.SmsUnavailable


def test_after_a_rest_it_is_asked_again(telco: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "REST_SECONDS", 0.0)
    telco.status = 503
    for _ in range(deliveries.FAILURES):
        ask(any_phone_number())
    telco.status = 200
    assert ask(any_phone_number()).status == 200


class Exploding:
    """A library that raises what it likes."""

    def send(self, message: sms.CodeMessage) -> None:
        raise KeyError(message.to)


def test_whatever_a_library_raises_is_a_failure_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    number = any_phone_number()
    with pytest.raises(sms.SmsUnavailable):
        deliveries._Line(Exploding()).send(sms.CodeMessage(number, "123456"))
    assert "the SMS gateway has failed: KeyError" in caplog.text
    assert number not in caplog.text


# --- wrongly set up --------------------------------------------------------------------------------------------------------------------

WRONG = ["nosuchprovider://{to}", "json://127.0.0.1/without-a-recipient", "file:relative", "", "twilio://{to}"]


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_is_no_gateways_is_told_without_saying_it(settings: Any, url: str) -> None:
    settings.SMS_URL = url
    with pytest.raises(ImproperlyConfigured, match="SMS_URL") as told:
        sms.gateway()
    assert not url or url not in str(told.value)
    [error] = codes_can_be_sent()
    assert (error.id, error.level) == ("accounts.E001", checks.ERROR)


def test_a_missing_library_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    settings.SMS_URL = "json://127.0.0.1/{to}"
    with pytest.raises(ImproperlyConfigured, match=r"requirements-sms\.txt"):
        sms.gateway()


async def test_nothing_is_served_that_cannot_send_codes(settings: Any) -> None:
    settings.SMS_URL = "nosuchprovider://{to}"
    said: list[dict[str, Any]] = []

    async def starts() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def hears(message: dict[str, Any]) -> None:
        said.append(message)

    await live(starts, hears)
    assert [message["type"] for message in said] == ["lifespan.startup.failed"]
    assert "SMS_URL" in said[0]["message"]


def test_a_server_for_the_world_is_warned_of_codes_that_reach_nobody(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SMS_URL = "console://"
    warn_of_codes_for_nobody()
    settings.IN_PRODUCTION, settings.SMS_URL = True, "twilio://AC:x@1/{to}"
    warn_of_codes_for_nobody()
    assert caplog.text == ""
    settings.SMS_URL = "console://"
    warn_of_codes_for_nobody()
    assert "SMS_URL sends codes to nobody's telephone" in caplog.text
