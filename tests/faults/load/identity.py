"""Signing an installation in over the real API, and keeping it signed in."""

import asyncio
import base64
import json
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xeddsa
from waypost_client.backoff import pause
from waypost_client.keys import public_of, sign

from tests.faults.load.web import Answer, NoAnswer, Web

REFRESH_BEFORE = 120.0
SMS_SECONDS = 3.0
PREKEYS = 5
Json = dict[str, Any]


class SignedOut(Exception):
    """The server does not take this device's refresh token any more."""


class Refused(Exception):
    """A refusal for good of something that had to succeed."""


class Codes:
    """The codes that arrived by SMS, read from the gateway's file as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._codes: dict[str, list[str]] = {}

    def count(self, phone: str) -> int:
        return len(self._of(phone))

    def since(self, phone: str, count: int) -> list[str]:
        """The codes to this number after the first `count`, newest first."""
        return self._of(phone)[count:][::-1]

    def all(self) -> list[str]:
        self._read()
        return [code for codes in self._codes.values() for code in codes]

    def _of(self, phone: str) -> list[str]:
        self._read()
        return self._codes.get(phone, [])

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        for line in whole.splitlines():
            message = json.loads(line)
            self._codes.setdefault(message["to"], []).append(message["code"])
        self._offset += len(whole) + 1 if whole else 0


@dataclass
class Identity:
    """One installation: what it signs in with, and its tokens once it has."""

    phone: str
    device_uuid: str
    registration_id: int
    private: bytes
    user_id: str = ""
    device_id: str = ""
    access_token: str = ""
    refresh_token: str = ""
    fresh_until: float = 0.0
    tokens_seen: list[str] = field(default_factory=list)

    def take_tokens(self, answer: Json) -> None:
        """A new pair: kept before it is used, so that the old one is given up last."""
        self.access_token, self.refresh_token = str(answer["access_token"]), str(answer["refresh_token"])
        self.fresh_until = time.monotonic() + float(answer["access_expires_in_seconds"]) - REFRESH_BEFORE
        self.tokens_seen += [self.access_token, self.refresh_token]


def installation(rng: random.Random, phone: str, device_uuid: str) -> Identity:
    """An installation that has not signed in yet. The same `device_uuid` with another identity key is a re-install."""
    private = xeddsa.seed_to_priv(rng.randbytes(32))
    return Identity(phone, device_uuid, rng.randint(1, 16383), private)


async def again(attempt: Callable[[], Awaitable[Answer]], give_up: float) -> Answer:
    """The first answer that is not "later", asking again meanwhile. Raises NoAnswer when there is none in time."""
    until, tries = time.monotonic() + give_up, 0
    while True:
        try:
            answer = await attempt()
            if not answer.is_temporary or time.monotonic() > until:
                return answer
        except NoAnswer:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(min(pause(tries), 5.0))
        tries += 1


async def registration_token(web: Web, codes: Codes, phone: str, give_up: float) -> str:
    """Proof of the number. Raises NoAnswer, Refused."""
    before = codes.count(phone)
    asked = await again(lambda: web.call("POST", "auth/request-otp", {"phone_number": phone}), give_up)
    if asked.code:
        raise Refused(f"request-otp: {asked.code}")
    for code in await _codes(codes, phone, before):
        proof = {"otp_session_id": asked.body["otp_session_id"], "code": code}
        verified = await again(lambda proof=proof: web.call("POST", "auth/verify-otp", proof), give_up)  # type: ignore[misc]  # bound now
        if not verified.code:
            return str(verified.body["registration_token"])
    raise Refused("verify-otp: no code was right")


async def _codes(codes: Codes, phone: str, before: int) -> list[str]:
    """Asked twice because an answer was lost, the gateway has several; the newest is tried first."""
    until = time.monotonic() + SMS_SECONDS
    while not (found := codes.since(phone, before)):
        if time.monotonic() > until:
            raise Refused("no code arrived")
        await asyncio.sleep(0.02)
    return found


def device_input(me: Identity) -> Json:
    """What register-device is told of the installation."""
    signed = _prekey(1)
    signature = sign(me.private, base64.b64decode(signed["public_key"]))
    return {
        "device_uuid": me.device_uuid,
        "name": "under load",
        "platform": "bot",
        "registration_id": me.registration_id,
        "identity_key": _b64(public_of(me.private)),
        "signed_prekey": signed | {"signature": _b64(signature)},
        "one_time_prekeys": [_prekey(number) for number in range(1, PREKEYS + 1)],
    }


def _prekey(key_id: int) -> Json:
    return {"key_id": key_id, "public_key": _b64(public_of(xeddsa.seed_to_priv(secrets.token_bytes(32))))}


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


async def refresh(web: Web, me: Identity, give_up: float) -> None:
    """The next pair. A lost answer is asked for again with the same token: it works until a token of a new pair is used.

    Raises SignedOut, NoAnswer.
    """
    answer = await again(lambda: web.call("POST", "auth/refresh", {"refresh_token": me.refresh_token}), give_up)
    if answer.status == 401:
        raise SignedOut
    if answer.code:
        raise NoAnswer(answer.code)
    me.take_tokens(answer.body)
