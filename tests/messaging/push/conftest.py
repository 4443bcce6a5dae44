"""A server that pushes quickly, and the push service it pushes to."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatproject import vapid
from messaging import counts as counting
from messaging.counts import Counts
from messaging.push import lanes, pusher
from tests.messaging.conftest import (  # noqa: F401  (fixtures)
    alice_and_bob,
    alice_laptop,
    connect,
    server,
)
from tests.push_service import PushService, push_service


@pytest.fixture(autouse=True)
def from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters as of a new process."""
    for field in msgspec.structs.fields(Counts):
        monkeypatch.setattr(counting.counts, field.name, getattr(Counts(), field.name))


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to wait for a minute."""
    monkeypatch.setattr(pusher, "DELAY_SECONDS", 0.05)
    monkeypatch.setattr(pusher, "APART_SECONDS", 0.3)
    monkeypatch.setattr(pusher, "ROUND_SECONDS", 0.02)
    monkeypatch.setattr(pusher, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(lanes, "REST_SECONDS", 0.1)


@pytest.fixture
async def service(tmp_path: Path, settings: Any) -> AsyncIterator[PushService]:
    """Name it before `server`: that one reads its settings when it starts."""
    async with push_service(tmp_path) as running:
        settings.VAPID_PRIVATE_KEY = vapid.new_private_key()
        settings.VAPID_SUBJECT = "mailto:operator@example.org"
        settings.PUSH_PRIVATE_HOSTS = [f"localhost:{running.port}"]
        settings.PUSH_CA_FILE = str(tmp_path / "ca.pem")
        yield running
