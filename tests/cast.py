"""The people of the tests: Alice with a phone and a laptop, Bob with a phone, Mallory who has no business here.

They have real keys and talk to the server through HTTP, each from a loopback address of its own. All of it is synchronous: in a
coroutine call it through `sync_to_async`, or let a fixture do it.
"""

import base64
import functools
import json
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xeddsa
from django.conf import settings
from django.test import Client
from django.test.client import ClientHandler

JsonObject = dict[str, Any]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def any_phone_number() -> str:
    return f"+6681{secrets.randbelow(10**7):07}"


def any_loopback_address() -> str:
    return f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str | None:
        return self.body.get("error_code") if isinstance(self.body, dict) else None


@functools.cache
def handler() -> ClientHandler:
    """One for all clients: each loading of the middleware looks through all static files."""
    shared = ClientHandler()
    shared.load_middleware()
    return shared


def any_client() -> Client:
    client = Client(raise_request_exception=False)
    client.handler = handler()
    return client


@dataclass
class Http:
    """A client of the HTTP API. Paths are relative to /api/v1, unless they begin with a slash."""

    token: str | None = None
    address: str = field(default_factory=any_loopback_address)
    client: Client = field(default_factory=any_client)

    def get(self, path: str, **query: str) -> Answer:
        return self.send("GET", path, query=query)

    def post(self, path: str, body: JsonObject | None = None) -> Answer:
        return self.send("POST", path, body)

    def put(self, path: str, body: JsonObject | None = None) -> Answer:
        return self.send("PUT", path, body)

    def patch(self, path: str, body: JsonObject | None = None) -> Answer:
        return self.send("PATCH", path, body)

    def delete(self, path: str, body: JsonObject | None = None) -> Answer:
        return self.send("DELETE", path, body)

    def send(
        self, method: str, path: str, body: JsonObject | None = None, query: dict[str, str] | None = None
    ) -> Answer:
        return self.send_raw(method, path, json.dumps(body) if body is not None else "", query=query)

    def send_raw(
        self,
        method: str,
        path: str,
        raw: str | bytes,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
        **headers: str,
    ) -> Answer:
        if self.token is not None:
            headers = {"Authorization": f"Bearer {self.token}"} | headers
        response = self.client.generic(
            method,
            path if path.startswith("/") else f"/api/v1/{path}",
            raw,
            content_type=content_type,
            headers=headers,
            query_params=query or {},
            REMOTE_ADDR=self.address,
        )
        is_json = response.headers.get("Content-Type", "").startswith("application/json") and response.content
        return Answer(
            response.status_code, dict(response.headers), json.loads(response.content) if is_json else response.content
        )


def any_private_key() -> bytes:
    """An X25519 private key, clamped as RFC 7748 wants it: the wheel's functions agree with each other on no other form."""
    key = bytearray(secrets.token_bytes(32))
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return bytes(key)


@dataclass
class Keys:
    """The private side of an installation; it never leaves it."""

    private: bytes = field(default_factory=any_private_key)
    next_key_id: int = 1

    @property
    def identity_key(self) -> bytes:
        return b"\x05" + xeddsa.priv_to_curve25519_pub(self.private)

    def sign(self, message: bytes) -> bytes:
        return xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(self.private, set_sign_bit=False), message)

    def prekey(self, key_id: int | None = None) -> JsonObject:
        return {"key_id": self._key_id(key_id), "public_key": b64(any_curve_key())}

    def signed_prekey(self, key_id: int | None = None) -> JsonObject:
        return self._signed(key_id, any_curve_key())

    def pq_prekey(self, key_id: int | None = None) -> JsonObject:
        return self._signed(key_id, b"\x08" + secrets.token_bytes(1568))

    def _signed(self, key_id: int | None, public_key: bytes) -> JsonObject:
        return {"key_id": self._key_id(key_id), "public_key": b64(public_key), "signature": b64(self.sign(public_key))}

    def _key_id(self, key_id: int | None) -> int:
        if key_id is not None:
            return key_id
        self.next_key_id += 1
        return self.next_key_id - 1


def any_curve_key() -> bytes:
    return b"\x05" + xeddsa.priv_to_curve25519_pub(any_private_key())


@dataclass
class Installation:
    """A client program on somebody's machine, before and after it signed in."""

    phone_number: str = field(default_factory=any_phone_number)
    name: str = "a phone"
    platform: str = "android"
    keys: Keys = field(default_factory=Keys)
    device_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    registration_id: int = field(default_factory=lambda: secrets.randbelow(16383) + 1)
    http: Http = field(default_factory=Http)
    user_id: str = ""
    device_id: str = ""
    device_number: int = 0
    access_token: str = ""
    refresh_token: str = ""

    def device_input(self, prekeys: int = 10, **changes: Any) -> JsonObject:
        return {
            "device_uuid": self.device_uuid,
            "name": self.name,
            "platform": self.platform,
            "registration_id": self.registration_id,
            "identity_key": b64(self.keys.identity_key),
            "signed_prekey": self.keys.signed_prekey(),
            "one_time_prekeys": [self.keys.prekey() for _ in range(prekeys)],
        } | changes

    def prove_number(self) -> str:
        """The registration token."""
        asked = self.http.post("auth/request-otp", {"phone_number": self.phone_number})
        assert asked.status == 200, asked
        proof = {"otp_session_id": asked.body["otp_session_id"], "code": last_code(self.phone_number)}
        verified = self.http.post("auth/verify-otp", proof)
        assert verified.status == 200, verified
        return str(verified.body["registration_token"])

    def register(self, prekeys: int = 10, **changes: Any) -> "Installation":
        """Sign in for the first time, or again."""
        token = self.prove_number()
        answer = self.http.post(
            "auth/register-device", {"registration_token": token, "device": self.device_input(prekeys, **changes)}
        )
        assert answer.status == 201, answer
        return self.signed_in(answer.body)

    def signed_in(self, registration: JsonObject) -> "Installation":
        self.user_id, self.device_id = registration["user_id"], registration["device_id"]
        self.device_number = registration["device_number"]
        return self.with_tokens(registration)

    def with_tokens(self, tokens: JsonObject) -> "Installation":
        self.access_token = self.http.token = tokens["access_token"]
        self.refresh_token = tokens["refresh_token"]
        return self

    def beside(self, name: str = "a laptop", platform: str = "desktop") -> "Installation":
        """Another installation of the same person, not signed in yet."""
        return Installation(phone_number=self.phone_number, name=name, platform=platform)

    def reinstalled(self) -> "Installation":
        """The same installation after it lost everything but its uuid, not signed in yet."""
        another = self.registration_id % 16383 + 1
        return Installation(
            self.phone_number, self.name, self.platform, device_uuid=self.device_uuid, registration_id=another
        )


def messages_to(phone_number: str) -> list[JsonObject]:
    """What the SMS gateway has taken for this number."""
    lines = Path(settings.SMS_URL.removeprefix("file://")).read_text().splitlines()
    return [message for message in map(json.loads, lines) if message["to"] == phone_number]


def last_code(phone_number: str) -> str:
    return str(messages_to(phone_number)[-1]["code"])
