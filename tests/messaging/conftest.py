"""A real server for socket tests: uvicorn in the test's own loop, on the test's own databases."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import pytest
import uvicorn

from tests.cast import Installation
from tests.conversations_of import direct
from tests.sockets import DeviceSocket, connected

Connect = Callable[..., AbstractAsyncContextManager[DeviceSocket]]


@pytest.fixture
def unlimited(settings: Any) -> None:
    """No limits on sending. Name it before `connect`: a server reads its limits when it starts."""
    settings.LIMITS = settings.LIMITS | {"SEND_BURST": [0], "CONVERSATION_PER_SECOND": [0], "FRAMES_BURST": [0]}


@pytest.fixture
async def server(transactional_db: None, services: None, hot_road: None, settings: Any) -> AsyncIterator[str]:
    """The URL of a running server, ws://…"""
    # All tests of a run come from one address.
    settings.LIMITS = settings.LIMITS | {"OTP_PER_IP_HOUR": [0]}
    from chatproject.asgi import application  # noqa: PLC0415  (not before pytest-django has set Django up)
    from chatproject.serve import DeviceProtocol  # noqa: PLC0415

    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        lifespan="on",
        ws=DeviceProtocol,
        ws_per_message_deflate=False,
        ws_max_size=262_144,
        log_config=None,
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve(sockets=[listening]))
    while not running.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    yield f"ws://127.0.0.1:{listening.getsockname()[1]}"
    running.should_exit = True
    await task


@pytest.fixture
def connect(server: str) -> Connect:
    """`async with connect(alice_phone) as socket`."""

    def to_server(device: Installation, **options: Any) -> AbstractAsyncContextManager[DeviceSocket]:
        return connected(server, device, **options)

    return to_server


@pytest.fixture
def alice_and_bob(alice_phone: Installation, bob_phone: Installation) -> UUID:
    """Their direct conversation."""
    return direct(alice_phone, bob_phone)


@pytest.fixture
def alice_laptop(alice_phone: Installation) -> Installation:
    """Alice's second device."""
    return alice_phone.beside("Alice's laptop").register()
