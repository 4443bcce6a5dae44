"""Every request has its answer in time, whatever its view waits for."""

import asyncio
import logging
from typing import Any

from accounts.wire.refusals import StorageUnavailable
from chatproject.bodies import AsgiApp, Message, Receive
from chatproject.errors import refusal_response

logger = logging.getLogger(__name__)

# What is promised is 5 s, from the last byte of the request to the first of the answer.
ANSWER_SECONDS = 4.8


def in_time(app: AsgiApp, seconds: float = ANSWER_SECONDS) -> AsgiApp:
    """The same ASGI application, whose requests are answered 503 when it takes longer.

    What it was doing may still happen: the view is left to itself, because a thread cannot be ended, and its own answer is dropped.
    """

    async def timed(scope: dict[str, Any], receive: Receive, send: Any) -> None:
        if scope["type"] == "http":
            await _Exchange(receive, send, seconds).run(app, scope)
        else:
            await app(scope, receive, send)

    return timed


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Any, seconds: float) -> None:
        self._receive, self._send = receive, send
        self._seconds = seconds
        self._has_begun = False
        self._is_late = False
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        """Return when the application has ended, or when it was too late."""
        work = asyncio.ensure_future(app(scope, self._heard, self._said))
        work.add_done_callback(self._settle)
        try:
            await self._settled
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if work.done():
            work.result()
        else:
            work.add_done_callback(_forget)
            await self._refuse()

    async def _heard(self) -> Message:
        message = await self._receive()
        if self._timer is None and not message.get("more_body", False):
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._give_up)
        return message

    async def _said(self, message: Message) -> None:
        if not self._is_late:
            self._has_begun = True
            await self._send(message)

    def _give_up(self) -> None:
        if not self._has_begun:
            self._is_late = True
            self._settle()

    def _settle(self, _work: object = None) -> None:
        if not self._settled.done():
            self._settled.set_result(None)

    async def _refuse(self) -> None:
        answer = refusal_response(StorageUnavailable())
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.items()]
        headers += [(b"content-length", str(len(answer.content)).encode()), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.content})


def _forget(work: "asyncio.Future[None]") -> None:
    if not work.cancelled() and (failure := work.exception()) is not None:
        logger.error("a view that was too late has failed: %s", type(failure).__name__)
