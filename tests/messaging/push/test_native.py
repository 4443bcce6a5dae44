"""APNs, FCM and the console: what they are told, and what their answers mean. Apple and Google are stood in for; everything before them is real."""

import logging
import sys
import types
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aioapns import NotificationRequest
from aioapns.common import NotificationResult

from devices.push_tokens import Address
from messaging.push.apns import Apns
from messaging.push.console import Console
from messaging.push.fcm import Fcm
from messaging.push.gateway import Gone, Knock, Refused, TryAgain
from messaging.push.gateways import configured_gateways
from messaging.push.webpush import WebPush

TOKEN = "c0ffee-of-alices-phone"
KNOCK = Knock(17, Address(provider="apns", token=TOKEN))
CALL = Knock(17, Address(provider="apns", token=TOKEN), is_call=True)


class Apple:
    """In the place of a connection to Apple."""

    def __init__(self, answer: NotificationResult | Exception) -> None:
        self.answer = answer
        self.asked: list[NotificationRequest] = []

    async def send_notification(self, request: NotificationRequest) -> NotificationResult:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def wake_through(apple: Apple, knock: Knock = KNOCK) -> None:
    gateway = Apns()
    gateway.__dict__["_client"] = apple
    await gateway.wake(knock)


async def test_apple_is_told_nothing() -> None:
    apple = Apple(NotificationResult("1", "200"))
    await wake_through(apple)
    await wake_through(apple, CALL)
    message, call = apple.asked
    assert message.message == call.message == {"aps": {"alert": {"loc-key": "wake"}, "mutable-content": 1}}
    assert (message.collapse_key, message.time_to_live) == ("wake", 604_800)
    assert (call.collapse_key, call.time_to_live) == ("call", 45)
    assert message.device_token == TOKEN


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        ("410", "Unregistered", Gone),
        ("410", "ExpiredToken", Gone),
        ("400", "Unregistered", Gone),
        ("400", "BadDeviceToken", Refused),
        ("400", "DeviceTokenNotForTopic", Refused),
        ("403", "InvalidProviderToken", Refused),
        ("400", "PayloadEmpty", Refused),
        ("429", "TooManyRequests", TryAgain),
        ("500", "InternalServerError", TryAgain),
        ("503", "Shutdown", TryAgain),
    ],
)
async def test_what_apple_says(status: str, reason: str, outcome: type[Exception]) -> None:
    with pytest.raises(outcome):
        await wake_through(Apple(NotificationResult("1", status, description=reason)))


async def test_an_apple_that_cannot_be_reached_is_tried_again() -> None:
    from aioapns.exceptions import MaxAttemptsExceeded  # noqa: PLC0415

    for failure in (MaxAttemptsExceeded(), OSError()):
        with pytest.raises(TryAgain):
            await wake_through(Apple(failure))


# --- Google: its library is optional here too, so its names are stood in for ----------------------------------------------------------------


class FirebaseError(Exception):
    pass


class Google:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[Any] = []
        self.failure: Exception | None = None
        self.messaging = types.ModuleType("firebase_admin.messaging")
        self.exceptions = types.ModuleType("firebase_admin.exceptions")
        for name in ("UnregisteredError", "SenderIdMismatchError"):
            setattr(self.messaging, name, type(name, (FirebaseError,), {}))
        for name in ("InvalidArgumentError", "PermissionDeniedError", "UnauthenticatedError", "UnavailableError"):
            setattr(self.exceptions, name, type(name, (FirebaseError,), {}))
        self.exceptions.FirebaseError = FirebaseError  # type: ignore[attr-defined]
        for name in ("AndroidConfig", "Message"):
            setattr(self.messaging, name, types.SimpleNamespace)
        self.messaging.send = self._send  # type: ignore[attr-defined]
        package = types.ModuleType("firebase_admin")
        package.__dict__.update(messaging=self.messaging, exceptions=self.exceptions)
        auth = types.ModuleType("google.auth.exceptions")
        auth.GoogleAuthError = type("GoogleAuthError", (Exception,), {})  # type: ignore[attr-defined]
        self.auth = auth
        for name, module in {
            "firebase_admin": package,
            "google": types.ModuleType("google"),
            "google.auth": types.ModuleType("google.auth"),
            "google.auth.exceptions": auth,
        }.items():
            monkeypatch.setitem(sys.modules, name, module)

    def _send(self, message: Any, app: Any) -> None:
        self.sent.append(message)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Google:
    return Google(monkeypatch)


@pytest.fixture
async def fcm(google: Google) -> AsyncIterator[Fcm]:
    gateway = Fcm("credentials.json")
    gateway.__dict__["_app"] = object()
    yield gateway
    await gateway.close()


async def test_google_is_told_nothing(google: Google, fcm: Fcm) -> None:
    await fcm.wake(KNOCK)
    [message] = google.sent
    assert (message.token, message.data) == (TOKEN, {"wake": "true"})
    assert (message.android.collapse_key, message.android.ttl.total_seconds()) == ("wake", 604_800)


@pytest.mark.parametrize(
    ("where", "name", "outcome"),
    [
        ("messaging", "UnregisteredError", Gone),
        ("messaging", "SenderIdMismatchError", Refused),
        ("exceptions", "InvalidArgumentError", Refused),
        ("exceptions", "PermissionDeniedError", Refused),
        ("exceptions", "UnavailableError", TryAgain),
        ("exceptions", "FirebaseError", TryAgain),
        ("auth", "GoogleAuthError", TryAgain),
    ],
)
async def test_what_google_says(google: Google, fcm: Fcm, where: str, name: str, outcome: type[Exception]) -> None:
    google.failure = getattr(getattr(google, where), name)()
    with pytest.raises(outcome):
        await fcm.wake(KNOCK)


# --- which of them there are ----------------------------------------------------------------------------------------------------------------


async def test_the_console_says_whom_it_would_wake_and_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await Console().wake(KNOCK)
    assert "apns would wake device 17" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(KNOCK)


async def test_gateways_are_those_with_a_configuration(settings: Any) -> None:
    settings.PUSH_CONSOLE, settings.VAPID_PRIVATE_KEY = False, ""
    settings.FCM_CREDENTIALS, settings.APNS_KEY_FILE = "", ""
    assert configured_gateways() == {}
    settings.PUSH_CONSOLE = True
    assert {type(gateway) for gateway in configured_gateways().values()} == {Console}
    settings.VAPID_PRIVATE_KEY, settings.FCM_CREDENTIALS, settings.APNS_KEY_FILE = "key", "file", "file"
    found = configured_gateways()
    assert {name: type(gateway) for name, gateway in found.items()} == {"webpush": WebPush, "fcm": Fcm, "apns": Apns}
    for gateway in found.values():
        await gateway.close()
