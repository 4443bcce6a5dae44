"""A phone for Alice and one for Bob, each with a profile of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.people import ALICE, BOB, Phone
from tests.messaging.conftest import server

__all__ = ["server"]


@pytest.fixture(autouse=True)
def _many_from_one_address(settings: Any) -> None:
    """The clients of all these tests call from one address, within the hour."""
    settings.LIMITS = settings.LIMITS | {"OTP_PER_IP_HOUR": [0]}


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Phone]:
    phone = Phone(tmp_path / "alice", ALICE, "1001")
    yield phone
    phone.state.close()


@pytest.fixture
def bob(tmp_path: Path) -> Iterator[Phone]:
    phone = Phone(tmp_path / "bob", BOB, "1002")
    yield phone
    phone.state.close()
