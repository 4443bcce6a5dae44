"""The gateway of web push against a real push service: what each answer means, and where it does not go."""

import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpcore
import pytest

from devices.push_endpoints import EndpointRefused
from devices.push_tokens import Address
from messaging.push import guarded_http
from messaging.push.gateway import Gone, Knock, Refused, TryAgain
from messaging.push.guarded_http import GuardedHttp, NoAnswer
from messaging.push.retry_after import read_retry_after
from messaging.push.webpush import WebPush
from tests.push_service import PushService, Subscription


@pytest.fixture
async def gateway(service: PushService) -> AsyncIterator[WebPush]:
    gateway = WebPush()
    yield gateway
    await gateway.close()


@pytest.fixture
async def http(service: PushService) -> AsyncIterator[GuardedHttp]:
    http = GuardedHttp()
    yield http
    await http.close()


def knock(endpoint: str) -> Knock:
    keys = Subscription()._key.public_key().public_numbers()
    point = b"\x04" + keys.x.to_bytes(32, "big") + keys.y.to_bytes(32, "big")
    return Knock(17, Address(provider="webpush", endpoint=endpoint, p256dh=point, auth=bytes(16)))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, None),
        (201, None),
        (204, None),
        (404, Gone),
        (410, Gone),
        (429, TryAgain),
        (500, TryAgain),
        (503, TryAgain),
        (301, Refused),
        (302, Refused),
        (307, Refused),
        (308, Refused),
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (413, Refused),
    ],
)
async def test_what_an_answer_means_and_redirects_are_not_followed(
    service: PushService, gateway: WebPush, status: int, outcome: type[Exception] | None
) -> None:
    service.status, service.headers = status, {"Location": service.endpoint("elsewhere")}
    if outcome is None:
        await gateway.wake(knock(service.endpoint()))
    else:
        with pytest.raises(outcome):
            await gateway.wake(knock(service.endpoint()))
    assert [pushed.line for pushed in service.pushed] == ["POST /push/phone HTTP/1.1"]


async def test_the_advice_of_a_push_service_is_told(service: PushService, gateway: WebPush) -> None:
    service.status, service.headers = 429, {"Retry-After": "17"}
    with pytest.raises(TryAgain) as refused:
        await gateway.wake(knock(service.endpoint()))
    assert refused.value.after_seconds == 17


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("999999999999999999999", 600),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("", None),
        ("Fri, 01 Jan 1999 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2999 00:00:00 GMT", 600),
        ("Fri, 01 Jan 2999 00:00:00", 600),
    ],
)
def test_advice_is_bounded_and_what_nobody_can_read_is_none(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text) == seconds


async def test_one_that_hangs_is_left_after_the_time_it_has(
    service: PushService, gateway: WebPush, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded_http, "ANSWER_SECONDS", 0.5)
    service.hangs = True
    with pytest.raises(TryAgain):
        await gateway.wake(knock(service.endpoint()))


async def test_an_answer_without_end_is_not_read(service: PushService, http: GuardedHttp) -> None:
    service.answer = bytes(50 * 1024 * 1024)
    answer = await http.post(service.endpoint(), {}, b"x")
    assert answer.status == 201
    service.answer = b""
    assert (await http.post(service.endpoint(), {}, b"x")).status == 201


async def test_a_certificate_nobody_vouches_for_is_no_answer(service: PushService, settings: Any) -> None:
    settings.PUSH_CA_FILE = ""
    http = GuardedHttp()
    with pytest.raises(NoAnswer):
        await http.post(service.endpoint(), {}, b"x")
    await http.close()
    assert service.pushed == []


async def test_a_name_that_leads_inside_is_not_called(
    service: PushService, http: GuardedHttp, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PUSH_PRIVATE_HOSTS, settings.PUSH_PORTS = [], [service.port]
    monkeypatch.setattr(guarded_http, "resolve", lambda _host, _port: ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    with pytest.raises(EndpointRefused):
        await http.post(f"https://push.example.com:{service.port}/", {}, b"x")
    assert service.pushed == []


async def test_a_name_that_changes_its_mind_is_called_where_it_was_looked_at(
    service: PushService, http: GuardedHttp, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is public, each later one leads inside. There is only one question for each connection."""
    settings.PUSH_PRIVATE_HOSTS, settings.PUSH_PORTS = [], [service.port]
    asked: list[str] = []
    called: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["93.184.215.14"] if len(asked) == 1 else ["127.0.0.1"]

    async def no_network(_backend: Any, host: str, *_: Any) -> Any:
        called.append(host)
        raise OSError

    monkeypatch.setattr(guarded_http, "resolve", rebinding)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", no_network)
    url = f"https://push.example.com:{service.port}/"
    with pytest.raises(NoAnswer):
        await http.post(url, {}, b"x")
    with pytest.raises(EndpointRefused):
        await http.post(url, {}, b"x")
    assert (called, asked) == (["93.184.215.14"], ["push.example.com"] * 2)


async def test_of_several_addresses_only_a_public_one_is_called(
    http: GuardedHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    async def no_network(_backend: Any, host: str, *_: Any) -> Any:
        called.append(host)
        raise OSError

    monkeypatch.setattr(guarded_http, "resolve", lambda _host, _port: ["10.0.0.1", "2606:2800:21f::1", "93.184.215.14"])
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", no_network)
    with pytest.raises(NoAnswer):
        await http.post("https://push.example.com/", {}, b"x")
    assert called == ["2606:2800:21f::1"]


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost", "[::1]", "127.0.0.1"])
async def test_no_spelling_of_this_machine_is_called(
    service: PushService, http: GuardedHttp, settings: Any, spelling: str
) -> None:
    settings.PUSH_PRIVATE_HOSTS, settings.PUSH_PORTS = [], [service.port]
    with pytest.raises(EndpointRefused):
        await http.post(f"https://{spelling}:{service.port}/", {}, b"x")
    assert service.pushed == []


async def test_a_resolver_that_hangs_is_left_too(http: GuardedHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_host: str, _port: int) -> list[str]:
        time.sleep(0.6)
        return []

    monkeypatch.setattr(guarded_http, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(guarded_http, "resolve", hang)
    with pytest.raises(NoAnswer):
        await http.post("https://push.example.com/", {}, b"x")


def test_the_resolver_is_this_machines_own() -> None:
    assert set(guarded_http.resolve("localhost", 443)) <= {"127.0.0.1", "::1"}
    with pytest.raises(socket.gaierror):
        guarded_http.resolve("nobody.invalid", 443)
