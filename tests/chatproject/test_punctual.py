"""Every request has its answer in time, whatever its view waits for."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chatproject.bodies import Message
from chatproject.punctual import in_time

SCOPE = {"type": "http", "method": "GET", "path": "/"}
Receive = Callable[[], Awaitable[Message]]


class Client:
    """Asks one thing, in pieces, and hears what is answered."""

    def __init__(self, *pieces: bytes, pause: float = 0.0) -> None:
        self._pieces = list(pieces) or [b""]
        self._pause = pause
        self.heard: list[Message] = []

    async def receive(self) -> Message:
        if not self._pieces:
            await asyncio.sleep(60)
        await asyncio.sleep(self._pause)
        return {"type": "http.request", "body": self._pieces.pop(0), "more_body": bool(self._pieces)}

    async def send(self, message: Message) -> None:
        self.heard.append(message)

    async def ask(self, view: Callable[..., Awaitable[None]], *, seconds: float = 0.2) -> None:
        await in_time(view, seconds)(SCOPE, self.receive, self.send)

    @property
    def status(self) -> int:
        return int(self.heard[0]["status"])


async def read(receive: Receive) -> None:
    while (await receive())["more_body"]:
        pass


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


async def prompt(_scope: Any, receive: Receive, send: Any) -> None:
    await read(receive)
    await answer(send)


async def test_what_is_in_time_is_passed_on_as_it_is() -> None:
    client = Client(b"a question")
    await client.ask(prompt)
    assert [client.status, client.heard[1]["body"]] == [200, b"here"]


async def test_what_is_late_is_refused_like_any_store_that_is_away_and_its_own_answer_is_dropped() -> None:
    ended = asyncio.Event()

    async def slow(scope: Any, receive: Receive, send: Any) -> None:
        await read(receive)
        await asyncio.sleep(0.3)
        await answer(send)
        ended.set()

    client = Client()
    await client.ask(slow)
    assert not ended.is_set()
    await ended.wait()
    assert client.status == 503
    headers = dict(client.heard[0]["headers"])
    assert int(headers[b"retry-after"]) >= 1
    body = json.loads(client.heard[1]["body"])
    assert body["error_code"] == "STORAGE_UNAVAILABLE"
    assert len(client.heard) == 2


async def test_the_time_a_body_takes_to_come_is_its_senders() -> None:
    client = Client(b"slow", b"ly", pause=0.15)
    await client.ask(prompt)
    assert client.status == 200


async def test_an_answer_that_has_begun_may_take_longer() -> None:
    async def long_answer(_scope: Any, receive: Receive, send: Any) -> None:
        await read(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"at last"})

    client = Client()
    await client.ask(long_answer)
    assert client.heard[-1]["body"] == b"at last"


async def test_a_view_that_fails_fails_for_the_server_too() -> None:
    async def broken(_scope: Any, _receive: Receive, _send: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Client().ask(broken)


async def test_a_view_that_fails_when_it_was_late_is_logged_by_its_type_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_scope: Any, receive: Receive, _send: Any) -> None:
        await read(receive)
        await asyncio.sleep(0.1)
        raise ValueError("secret")

    client = Client()
    await client.ask(broken, seconds=0.05)
    await asyncio.sleep(0.1)
    assert client.status == 503
    assert [record.getMessage() for record in caplog.records] == ["a view that was too late has failed: ValueError"]


async def test_a_server_that_gives_up_the_request_ends_its_view() -> None:
    cancelled = asyncio.Event()

    async def waiting(_scope: Any, receive: Receive, _send: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    task = asyncio.create_task(Client().ask(waiting))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(cancelled.wait(), 1)
