"""What is counted before there is a socket."""

import uuid
from typing import Any

import pytest

from messaging import handshakes


async def test_the_addresses_of_one_ipv6_customer_are_counted_together(services: None, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"HANDSHAKES_PER_MIN": [3]}
    customer = f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}"
    for number in range(3):
        await handshakes._count({"client": (f"{customer}::{number}", 1)}, {})
    with pytest.raises(handshakes.Refused):
        await handshakes._count({"client": (f"{customer}:1:2:3:4", 1)}, {})
