"""A web process as it is served."""

import asyncio
import base64
import gc
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

PROGRAM = "from chatproject.serve import main; main('tests.chatproject.test_serve:application')"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: %b\r\n\r\n"
)
# A close frame of a client: final, masked with zeros, 1012.
CLOSE = b"\x88\x82" + bytes(4) + (1012).to_bytes(2, "big")


class Application:
    """Says how many objects the collector leaves out, and how many it looks through; a socket stays open until it is told farewell."""

    def __init__(self) -> None:
        self._leaving = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        match scope["type"]:
            case "lifespan":
                for phase in ("startup", "shutdown"):
                    await receive()
                    await send({"type": f"lifespan.{phase}.complete"})
            case "websocket":
                await send({"type": "websocket.accept"})
                await self._leaving.wait()
                await send({"type": "websocket.close", "code": 1012, "reason": "advice"})
            case _:
                body = f"{gc.get_freeze_count()} {len(gc.get_objects())}".encode()
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": body})

    async def farewell(self) -> None:
        self._leaving.set()
        await asyncio.sleep(0.1)


application = Application()


@contextmanager
def served() -> Iterator[tuple[subprocess.Popen[bytes], tuple[str, int]]]:
    """A web process that serves the application, and where."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", PROGRAM, "--fd", str(listener.fileno())]
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as process:
            try:
                yield process, listener.getsockname()
            finally:
                process.terminate()


def test_the_collector_leaves_out_what_a_web_process_has_loaded() -> None:
    with served() as (_, (host, port)):
        answer = httpx.get(f"http://{host}:{port}/", timeout=30).text
    left_out, looked_through = map(int, answer.split())
    assert left_out > 10 * looked_through


def test_whoever_is_sent_away_is_not_cut_before_they_have_hung_up() -> None:
    """With something unread a connection that is cut is reset, and the client may lose the close code with it."""
    with served() as (process, address), socket.create_connection(address, timeout=30) as client:
        client.sendall(UPGRADE % base64.b64encode(os.urandom(16)))
        assert b"101" in client.recv(4096)
        process.terminate()
        frame = client.recv(4096)
        assert (frame[0], frame[2:4], frame[4:]) == (0x88, (1012).to_bytes(2, "big"), b"advice")
        readable, _, _ = select.select([client], [], [], 0.7)
        assert not readable, "the server has closed the connection"
        client.sendall(CLOSE)
        assert client.recv(4096) == b""
        assert process.wait(timeout=30) is not None
