"""Bodies as they arrive: counted in the stream, whatever their headers promise."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from chatproject.bodies import limited_bodies
from tests.cast import Installation

pytestmark = pytest.mark.django_db(transaction=True)

MEBIBYTE = 1024 * 1024


async def ask(chunks: Iterable[bytes], token: str, method: bytes = b"PATCH", **headers: bytes) -> tuple[int, int]:
    """The status, and how many bytes the server had taken by its answer."""
    waiting, taken, answer, answered = iter(chunks), 0, 0, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal taken
        await asyncio.sleep(0)
        chunk = None if answered.is_set() else next(waiting, None)
        if chunk is None:
            await answered.wait()
            return {"type": "http.disconnect"}
        taken += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def send(message: dict[str, Any]) -> None:
        nonlocal answer
        answer = message.get("status", answer)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    fields = {
        "host": b"localhost",
        "content-type": b"application/json",
        "authorization": f"Bearer {token}".encode(),
    } | headers
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method.decode(),
        "path": "/api/v1/profile",
        "raw_path": b"/api/v1/profile",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 5),
        "headers": [(name.replace("_", "-").encode(), value) for name, value in fields.items()],
    }
    await limited_bodies(get_asgi_application())(scope, receive, send)
    return answer, taken


async def test_an_endless_body_is_cut_off(alice_phone: Installation) -> None:
    endless = (b"x" * 65_536 for _ in range(1000))
    status, taken = await ask(endless, alice_phone.access_token, content_length=b"2")
    assert status == 413
    assert taken <= 3 * MEBIBYTE


async def test_without_a_token_a_large_body_is_401_first(services: None) -> None:
    status, taken = await ask((b"x" * 65_536 for _ in range(1000)), "x.y.z")
    assert status == 401
    assert taken <= 3 * MEBIBYTE


async def test_a_body_in_pieces_is_one_body(alice_phone: Installation) -> None:
    assert (await ask([b'{"bio":', b'"in pieces"', b"}", b""], alice_phone.access_token))[0] == 200
