"""The heart: tells the message store every other second which PostgreSQL it belongs to, and notices when that is another one, or an earlier state.

PostgreSQL counts each beat before the store hears of it. So a PostgreSQL that does not remember the store's last beat has gone back, however it was
done: no clock, no position in the log of the server, nothing that moves by itself is asked. What a restore took back after the last beat, at most two
seconds, is not seen by this.
"""

import asyncio
import contextlib
import logging

from accounts import clocks, lineage_guard, postgresql
from accounts.lineage import Mark, departure, lost_beats
from accounts.lineage_guard import guard
from accounts.wire.refusals import StorageUnavailable
from messaging.envelopes import Heartbeat
from messaging.store.protocol import MessageStore, StoreUnavailable

logger = logging.getLogger(__name__)

BEAT_SECONDS = 2.0


class Misplaced(Exception):
    """PostgreSQL and the message store do not belong together: nothing may be served."""


class Heart:
    """One process's heart. Any number of them may beat for one store."""

    def __init__(self, store: MessageStore, *, local_dc: str) -> None:
        self._store = store
        self._local_dc = local_dc

    async def start(self) -> None:
        """Compare the two for the first time. Raises Misplaced.

        Where one of them does not answer, nobody is served before it did, unless another process has compared them since PostgreSQL was started.
        """
        guard.serve()
        with contextlib.suppress(StorageUnavailable):
            await self.beat()
        if guard.complaint is not None:
            complaint = guard.complaint
            guard.rest()
            raise Misplaced(complaint)
        if not guard.is_compared:
            logger.warning("nobody is served before PostgreSQL and the message store have both answered once")

    async def beat_for_ever(self) -> None:
        """Beat regularly. While something is wrong nothing is appended, and looked at again with the next beat."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with contextlib.suppress(StorageUnavailable):
                await self.beat()

    async def stop(self) -> None:
        """A last beat, so that nothing that was served here can be taken back unseen."""
        if guard.is_serving and guard.complaint is None:
            with contextlib.suppress(StorageUnavailable):
                await self.beat()
        guard.rest()

    async def beat(self) -> None:
        """Compare, count, tell the store. Raises StorageUnavailable when PostgreSQL does not answer."""
        guard.awake()
        try:
            # Before PostgreSQL is asked: what the store has heard, PostgreSQL has counted before.
            last = await self._store.heartbeat()
        except StoreUnavailable:
            await self._beat_alone()
            return
        async with postgresql.connection() as conn:
            found, _ = await lineage_guard.read(conn)
            complaint = complaint_about(found, last, self._local_dc)
            if complaint is not None:
                guard.refuse(complaint)
                return
            mark = await lineage_guard.beat(conn, above=last.beat if last else 0)
        guard.accept(mark)
        with contextlib.suppress(StoreUnavailable):
            await self._store.beat(heartbeat_of(mark, self._local_dc), now_ms=clocks.now_ms())
        if last is not None and found.timeline > last.timeline:
            _tell_promotion(found, last)

    async def _beat_alone(self) -> None:
        """The store does not answer: what was compared once holds for as long as PostgreSQL is seen to go on from there."""
        async with postgresql.connection() as conn:
            _, is_compared = await lineage_guard.read(conn)
            if guard.complaint is None and (guard.is_compared or is_compared):
                guard.accept(await lineage_guard.beat(conn, above=0))


def complaint_about(found: Mark, last: Heartbeat | None, local_dc: str) -> str | None:
    """Why this PostgreSQL and this data centre are not those of the store's last heartbeat, as a sentence; None if they are."""
    if last is None:
        return None
    reason = departure(found, last)
    if reason is not None:
        return lineage_guard.sentence(reason)
    if local_dc != last.local_dc:
        return (
            f"The message store is used through the data centre '{last.local_dc}', not '{local_dc}': quorums of two data centres do not meet. "
            "If all processes are to change over, stop them and say so with: manage.py accept_restore"
        )
    return None


def heartbeat_of(mark: Mark, local_dc: str) -> Heartbeat:
    """What the store is told of a beat."""
    return Heartbeat(mark.system_identifier, mark.timeline, mark.era, mark.beat, local_dc)


def _tell_promotion(found: Mark, last: Heartbeat) -> None:
    logger.warning(
        "PostgreSQL is on timeline %d, it was %d; beats lost: %d. Each conversation looks into the message store before it goes on",
        found.timeline,
        last.timeline,
        lost_beats(found, last),
    )
