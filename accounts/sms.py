"""SMS gateways. `SMS_URL` chooses one: `console://` prints, `file:///path` appends a JSON line per message."""

import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts.wire.scalars import write_time


class SmsUnavailable(Exception):
    """The gateway did not take the message."""


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
        """Return when the gateway has taken the message. Raises SmsUnavailable."""


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


def gateway() -> SmsGateway:
    """The gateway SMS_URL names."""
    url = urlsplit(settings.SMS_URL)
    if url.scheme == "console":
        return ConsoleGateway()
    if url.scheme == "file" and url.path:
        return FileGateway(Path(unquote(url.path)))
    sentence = "SMS_URL must be console:// or file:///path"
    raise ImproperlyConfigured(sentence)
