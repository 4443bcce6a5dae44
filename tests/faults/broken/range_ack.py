"""An ack counts for everything up to its position, also for what is not there yet."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from messaging.envelopes import Cursor
from messaging.mailboxes import Delivery
from messaging.store.protocol import StoreUnavailable
from tests.faults.broken.surgery import replace

_moving: set[asyncio.Task[None]] = set()


def install() -> None:
    acknowledge: Any = replace(
        Delivery,
        "acknowledge",
        lambda self, message_ids: acknowledge(self, up_to(self, message_ids)),
        signature="(self, message_ids)",
    )


def up_to(delivery: Delivery, message_ids: Iterable[int]) -> list[int]:
    """These and everything in flight below them; the mailbox below them is done with for good."""
    named = list(message_ids)
    flights = delivery._window._in_flight
    highest = max((flights[each].envelope.position for each in named if each in flights), default=0)
    if highest:
        low_bucket = delivery._cursor.low_bucket if delivery._cursor is not None else 0
        delivery._cursor = Cursor(highest, low_bucket)
        task = asyncio.get_running_loop().create_task(_empty_below(delivery, delivery._cursor))
        _moving.add(task)
        task.add_done_callback(_moving.discard)
    below = [key for key, flight in flights.items() if flight.envelope.position <= highest and key not in named]
    return named + below


async def _empty_below(delivery: Delivery, cursor: Cursor) -> None:
    with suppress(StoreUnavailable):
        await delivery._store.move_cursor(delivery._mailbox, cursor, now_ms=time.time_ns() // 1_000_000)
