"""SMS gateways. `SMS_URL` chooses one: `console://` prints, `file:///path` appends a JSON line per message, the rest are `apprise`'s.

What this module offers may take as long as it takes; `deliveries` is how messages leave.
"""

import json
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts.wire.scalars import write_time


class SmsUnavailable(Exception):
    """The gateway did not take the message."""


class SmsRefused(SmsUnavailable):
    """It does not take this message, to a number that is none for example. Of others this says nothing."""


@dataclass(frozen=True, slots=True)
class CodeMessage:
    """A one-time code on its way to a phone."""

    to: str
    code: str

    @property
    def body(self) -> str:
        """What the person reads."""
        return f"Your code is {self.code}"


class SmsGateway(Protocol):
    """Takes messages to phones."""

    def send(self, message: CodeMessage) -> None:
        """Return when the gateway has taken the message. Raises SmsUnavailable; SmsRefused when it was the message, and not the gateway."""


class ConsoleGateway:
    """Prints messages: for a server that somebody is sitting in front of."""

    def send(self, message: CodeMessage) -> None:
        """Print it."""
        sys.stdout.write(f"SMS to {message.to}: {message.body}\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class FileGateway:
    """Appends messages to a file that only its owner can read: for development and tests."""

    path: Path

    def send(self, message: CodeMessage) -> None:
        """Append one line, whole: lines of several processes do not mix."""
        line = json.dumps(
            {"to": message.to, "body": message.body, "code": message.code, "sent_at": write_time(datetime.now(UTC))}
        )
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab", buffering=0) as file:
                file.write(line.encode() + b"\n")
        except OSError as failure:
            raise SmsUnavailable from failure


class AppriseGateway:
    """A provider that the library apprise knows by the scheme of a URL. `{to}` in the URL stands for the number's digits."""

    def __init__(self, url: str) -> None:
        """Raises ImproperlyConfigured when the library is missing or does not understand the URL; no sentence has the URL, which has a password."""
        if PLACEHOLDER not in url:
            raise ImproperlyConfigured(f"SMS_URL must have {PLACEHOLDER} where the provider wants the recipient")  # noqa: EM102
        try:
            import apprise  # noqa: PLC0415  (optional: requirements-sms.txt)
        except ImportError as failure:
            raise ImproperlyConfigured("SMS_URL names a provider: pip install -r requirements-sms.txt") from failure
        self._library = apprise
        self._url = url
        if not apprise.Apprise().add(self._url_to("+12025550123")):
            raise ImproperlyConfigured("SMS_URL is none that apprise understands: see its page of the provider")

    def send(self, message: CodeMessage) -> None:
        """Have the provider send it."""
        provider = self._library.Apprise()
        if not provider.add(self._url_to(message.to)):
            raise SmsRefused
        result = provider.notify(body=message.body)
        if not result:
            raise SmsRefused if _is_about_the_message(result) else SmsUnavailable

    def _url_to(self, number: str) -> str:
        return self._url.replace(PLACEHOLDER, number.removeprefix("+"))


PLACEHOLDER = "{to}"
# All of apprise's providers end the line about an answer that was no success with its HTTP status, or with a code of the provider's own.
_CODE = re.compile(r"\berror=(\w+)")
# Who asks may not, has not paid, asks too often or at the wrong place; and whatever the provider says of itself.
_OF_THE_GATEWAY = re.compile(r"40[1-5]|407|408|425|429|[235]\d\d")
# Twilio's own: 20003 is a wrong password, 20429 too many requests; what it has against a number begins with 21, and so
# do some things it has against the sender: a wrong one (21212, 21606, 21659), no permission for the region (21408), a full queue (21611).
_OF_TWILIO = re.compile(r"20\d{3}|21212|21408|21606|21611|21659")


def _is_about_the_message(result: Any) -> bool:
    """Whether a provider has looked at the message and does not send it. No code at all: it was not reached, or nobody knows."""
    codes = [code for entry in result.logs() for code in _CODE.findall(entry.message)]
    return bool(codes) and not any(_OF_THE_GATEWAY.fullmatch(code) or _OF_TWILIO.fullmatch(code) for code in codes)


def gateway() -> SmsGateway:
    """The gateway SMS_URL names. Raises ImproperlyConfigured when there is no such one."""
    url = urlsplit(settings.SMS_URL)
    if url.scheme == "console":
        return ConsoleGateway()
    if url.scheme == "file" and url.path.startswith("/"):
        return FileGateway(Path(unquote(url.path)))
    if url.scheme not in ("", "file"):
        return AppriseGateway(settings.SMS_URL)
    raise ImproperlyConfigured("SMS_URL must be console://, file:///path, or the URL of a provider")
