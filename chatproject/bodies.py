"""Bounded bodies: no request makes the server keep more of its body than the largest call may have."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from accounts.wire.requests import CUT_OFF, SEND_BODY_BYTES

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
AsgiApp = Callable[[dict[str, Any], Receive, Any], Awaitable[None]]


def limited_bodies(app: AsgiApp, most: int = SEND_BODY_BYTES) -> AsgiApp:
    """The same ASGI application, which sees at most `most` bytes of a body.

    Counted while they arrive, whatever Content-Length says. What was cut off is marked in the scope and refused (413) where the body is
    read, so a call without a valid token is still 401 first.
    """

    async def limited(scope: dict[str, Any], receive: Receive, send: Any) -> None:
        await app(scope, _counted(scope, receive, most) if scope["type"] == "http" else receive, send)

    return limited


def _counted(scope: dict[str, Any], receive: Receive, most: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        if scope.get(CUT_OFF):
            # The application waits for the client to leave, until it has answered. The rest stays where it is; the server drops it.
            await asyncio.get_running_loop().create_future()
        message = await receive()
        seen += len(message.get("body", b""))
        if seen <= most or message["type"] != "http.request":
            return message
        scope[CUT_OFF] = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return counted
