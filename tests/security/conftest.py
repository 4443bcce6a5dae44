"""A running server, the world of the matrix in it, and no limits in the way."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.messaging.conftest import connect, server
from tests.security.world import World, make_cast, make_world

__all__ = ["connect", "server"]

LIMITED = ("CONVERSATIONS_PER_HOUR", "ADDS_PER_HOUR", "LINKS_PER_HOUR", "LOOKUPS_PER_15_MIN", "BUNDLES_PER_10_MIN")


@pytest.fixture
def without_limits(settings: Any) -> None:
    """Name it before `server`."""
    names = (*LIMITED, "BUNDLES_PER_TARGET_HOUR", "RELATIONSHIPS_PER_HOUR", "OTP_PER_IP_HOUR", "HANDSHAKES_PER_MIN")
    settings.LIMITS = settings.LIMITS | {name: [0] for name in names}


@pytest.fixture
def cast(db: None, services: None, without_limits: None) -> Any:
    return make_cast()


@pytest.fixture
async def world(cast: Any, server: str) -> AsyncIterator[World]:
    async with httpx.AsyncClient(base_url=server.replace("ws://", "http://"), timeout=30) as client:
        yield await make_world(cast, client)
