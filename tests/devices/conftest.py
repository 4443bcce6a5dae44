"""What tests of devices have in common."""

from typing import Any

import pytest

from devices.signals import device_changed


@pytest.fixture
def announcements() -> Any:
    heard: list[tuple[str, str]] = []

    def hear(sender: Any, user_id: Any, device_id: int, reason: str, **_: Any) -> None:
        heard.append((str(device_id), str(reason)))

    device_changed.connect(hear)
    yield heard
    device_changed.disconnect(hear)
