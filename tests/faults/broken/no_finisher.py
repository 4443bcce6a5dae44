"""What a dead worker committed and did not deposit stays where it is."""

import asyncio

from messaging.relay import Relay
from tests.faults.broken.surgery import replace


async def finish_nothing(relay: Relay) -> None:
    await asyncio.Event().wait()


def install() -> None:
    replace(Relay, "finish_for_ever", finish_nothing, signature="(self)")
