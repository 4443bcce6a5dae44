"""What a dead worker committed and did not deposit stays where it is."""

import asyncio

from messaging.finisher import Finisher
from tests.faults.broken.surgery import replace


async def finish_nothing(finisher: Finisher) -> None:
    await asyncio.Event().wait()


def install() -> None:
    replace(Finisher, "run", finish_nothing, signature="(self)")
