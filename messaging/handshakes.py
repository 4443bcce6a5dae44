"""The opening of a socket: what is refused with an HTTP status before there is one."""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from accounts import limits
from accounts.addresses import address_behind, counted_as
from accounts.transactions import heal_connections
from accounts.wire.refusals import ChatError, InvalidToken, RateLimited, StorageUnavailable
from devices.current import CurrentDevice
from devices.tokens import authenticate
from messaging.frames import JSON, SUBPROTOCOLS
from messaging.store.deadline import within
from messaging.store.protocol import StoreUnavailable

PER_MINUTE = limits.Limit("HANDSHAKES_PER_MIN", 60, limits.WithoutRedis.COUNT_HERE)
# With what counting a handshake may take, and some room: less than the 5 s in which everything is answered.
VERIFIED_SECONDS = 4.0


class Handshake(msgspec.Struct, frozen=True):
    """An opening that is accepted. `device` is None until the first frame authenticates."""

    codec: str
    subprotocol: str | None
    device: CurrentDevice | None


class Refused(Exception):
    """The opening is refused with this status."""

    def __init__(self, status: HTTPStatus, refusal: ChatError) -> None:
        super().__init__(refusal.sentence)
        self.status = status
        self.refusal = refusal

    async def answer(self, send: Any) -> None:
        """Answer the opening request with the status and the error object."""
        headers = [(b"content-type", b"application/json")]
        body = self.refusal.body()
        if "retry_after_seconds" in body:
            headers.append((b"retry-after", str(body["retry_after_seconds"]).encode()))
        await send({"type": "websocket.http.response.start", "status": self.status.value, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": json.dumps(body).encode()})


async def check(scope: dict[str, Any]) -> Handshake:
    """Raise Refused, or say how the socket is going to speak, and whose it is if a header said so."""
    _refuse_token_in_url(scope)
    subprotocol = _subprotocol(scope["subprotocols"])
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    _check_origin(headers.get("origin"))
    await _count(scope, headers)
    return Handshake(subprotocol or JSON, subprotocol, await _device(headers.get("authorization")))


def _refuse_token_in_url(scope: dict[str, Any]) -> None:
    names = {name.lower() for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
    if any("token" in name or name == "authorization" for name in names):
        raise Refused(HTTPStatus.BAD_REQUEST, ChatError("A token never stands in a URL."))


def _subprotocol(offered: list[str]) -> str | None:
    if not offered:
        return None
    known = next((name for name in offered if name in SUBPROTOCOLS), None)
    if known is None:
        raise Refused(HTTPStatus.BAD_REQUEST, ChatError("None of these subprotocols is spoken here."))
    return known


def _check_origin(origin: str | None) -> None:
    """A browser says where its page is from; programs that are none say nothing."""
    if origin is not None and origin not in settings.ALLOWED_ORIGINS:
        raise Refused(HTTPStatus.FORBIDDEN, ChatError("This origin may not connect."))


async def _count(scope: dict[str, Any], headers: dict[str, str]) -> None:
    address = address_behind((scope.get("client") or [None])[0], headers.get("x-forwarded-for"))
    try:
        await sync_to_async(limits.spend, thread_sensitive=False)(PER_MINUTE, counted_as(address))
    except RateLimited as refusal:
        raise Refused(HTTPStatus.TOO_MANY_REQUESTS, refusal) from refusal


async def _device(authorization: str | None) -> CurrentDevice | None:
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise InvalidToken
        return await verify(token.strip())
    except InvalidToken as refusal:
        raise Refused(HTTPStatus.UNAUTHORIZED, refusal) from refusal
    except StorageUnavailable as refusal:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, refusal) from refusal


async def verify(access_token: str) -> CurrentDevice:
    """The device of an access token. Raises InvalidToken; StorageUnavailable when PostgreSQL does not say in time."""
    try:
        return await within(_verified(access_token), VERIFIED_SECONDS)
    except StoreUnavailable as failure:
        raise StorageUnavailable from failure


async def _verified(access_token: str) -> CurrentDevice:
    """One thread per socket, not one for all of them."""
    async with ThreadSensitiveContext():
        device: CurrentDevice = await sync_to_async(_authenticate)(access_token)
    return device


def _authenticate(access_token: str) -> CurrentDevice:
    try:
        return authenticate(access_token)
    except DatabaseError as failure:
        heal_connections()
        raise StorageUnavailable from failure
    finally:
        close_old_connections()
