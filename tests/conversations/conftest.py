"""A running server and callers of it."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from tests.callers import Caller
from tests.cast import Installation
from tests.messaging.conftest import server, unlimited  # noqa: F401  (fixtures)

Calling = Callable[[Installation], Caller]


@pytest.fixture
async def calling(server: str) -> AsyncIterator[Calling]:  # noqa: F811
    """`alice = calling(alice_phone)`"""
    async with httpx.AsyncClient(base_url=server.replace("ws://", "http://"), timeout=20) as client:
        yield lambda device: Caller(client, device)


@pytest.fixture
def carol_phone(db: None, services: None) -> Installation:
    return Installation(name="Carol's phone").register()


@pytest.fixture
def alice(calling: Calling, alice_phone: Installation) -> Caller:
    return calling(alice_phone)


@pytest.fixture
def bob(calling: Calling, bob_phone: Installation) -> Caller:
    return calling(bob_phone)


@pytest.fixture
def carol(calling: Calling, carol_phone: Installation) -> Caller:
    return calling(carol_phone)


@pytest.fixture
def mallory_online(calling: Calling, mallory: Installation) -> Caller:
    return calling(mallory)


@pytest.fixture
def many(settings: object) -> None:
    """No limits on new conversations and on adding people."""
    settings.LIMITS = settings.LIMITS | {"CONVERSATIONS_PER_HOUR": [0], "ADDS_PER_HOUR": [0]}  # type: ignore[attr-defined]
