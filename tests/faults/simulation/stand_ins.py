"""What stands in for the servers that some broken builds ask: a Redis that forgets, and a store that believes its clients' clocks."""

import contextlib
from collections.abc import Iterator, Sequence
from unittest.mock import patch

from conversations.sends import Sent
from tests.faults.broken import redis_dedupe
from tests.faults.broken.redis_dedupe import Key
from tests.faults.simulation import world
from tests.faults.simulation.stamped import StampedRows


class RedisOfTheWorld:
    """Knows what was sent, while its Redis stands."""

    async def prepare(self) -> None:
        world.current().server.sends_are_unique = False

    async def recall(self, keys: Sequence[Key]) -> dict[Key, Sent]:
        here = world.current()
        if here.network.hints_are_down:
            # It comes back empty.
            here.remembered.clear()
        return {key: here.remembered[key] for key in keys if key in here.remembered}

    async def remember(self, sent: dict[Key, Sent]) -> None:
        here = world.current()
        if not here.network.hints_are_down:
            here.remembered.update(sent)


@contextlib.contextmanager
def standing_in(build: str) -> Iterator[None]:
    """Inside, the build of this name finds what it asks."""
    with contextlib.ExitStack() as stack:
        if build == "redis_dedupe":
            stack.enter_context(patch.object(redis_dedupe, "memory", RedisOfTheWorld()))
        if build == "worker_clock":
            stack.enter_context(patch.object(world, "Rows", StampedRows))
        yield
