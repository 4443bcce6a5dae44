"""The drain clears its flag after it has read: what was announced while it read is forgotten until the next sweep."""

from messaging.mailboxes import Delivery
from tests.faults.broken.surgery import rewrite


async def read_then_clear(delivery: Delivery) -> None:
    try:
        await delivery._pass()
    finally:
        delivery._dirty.clear()


def install() -> None:
    rewrite(
        Delivery,
        "run",
        ("self._dirty.clear()\n", "pass\n"),
        ("await self._pass()", "await read_then_clear(self)"),
        read_then_clear=read_then_clear,
    )
