"""Where a web process listens; and that a socket whose client reads nothing does not outlive what it was closed for."""

import argparse
import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from chatproject import serve
from tests.waiting import until

OPENING = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def talkative(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Says more than anybody buffers, and leaves."""
    await receive()
    await send({"type": "websocket.accept"})
    talking = asyncio.create_task(_talk(send))
    await asyncio.sleep(0.3)
    assert not talking.done()
    talking.cancel()


async def _talk(send: Any) -> None:
    for _ in range(100):
        await send({"type": "websocket.send", "bytes": bytes(1_000_000)})


async def test_a_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "CUT_SECONDS", 0.5)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(talkative, lifespan="off", ws=serve.DeviceProtocol, log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    with socket.create_connection(listening.getsockname()) as deaf:
        deaf.sendall(OPENING)
        await until(lambda: len(server.server_state.connections) == 1)
        await until(lambda: not server.server_state.connections)
    server.should_exit = True
    await task


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_opens_a_socket_where_nobody_gave_it_one(host: str) -> None:
    with serve._listener(argparse.Namespace(fd=None, host=host, port=0)) as listener:
        assert listener.getsockname()[0] == host
        with socket.create_connection(listener.getsockname()[:2], timeout=5):
            pass


def test_it_takes_the_socket_it_was_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        listener = serve._listener(argparse.Namespace(fd=given.fileno(), host="::1", port=1))
        assert listener.getsockname() == given.getsockname()
        listener.detach()
