"""The finisher: takes over what is committed and not deposited by whoever committed it. Any number may run, in any processes."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from accounts.wire.refusals import StorageUnavailable
from conversations import outbox, sources
from conversations.entries import LogEntry
from messaging.counts import counts
from messaging.pauses import is_set_within
from messaging.relay import Relay

logger = logging.getLogger(__name__)

BATCH = 200
PAUSE_SECONDS = 1.0
# Whatever a batch waits for, others have taken it over by then.
HOLD_SECONDS = 30.0


class Finisher:
    """Finishes what is left in the outbox, batch by batch, until it is stopped."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._stopping = asyncio.Event()
        # Set while it holds no batch.
        self.idle = asyncio.Event()
        self.idle.set()
        self._taken_over = 0
        self._is_refused = False

    def stop(self) -> None:
        """Take nothing over any more. `run` returns when the batch it is at is done with."""
        self._stopping.set()

    async def run(self) -> None:
        """Look each second; go on at once while there is more. Outlives the outage of every store."""
        while not self._stopping.is_set():
            if not await self._finish_some():
                self._report()
                await is_set_within(self._stopping, PAUSE_SECONDS)
        self._report()

    async def _finish_some(self) -> bool:
        """Whether something was done, so that it is worth looking again at once."""
        self.idle.clear()
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                is_done = await self._take_over()
        except StorageUnavailable:
            self._note_postgresql(refuses=True)
            return False
        except Exception as failure:  # noqa: BLE001
            # Without its finishers an installation forgets what a dead worker left. The failure may quote a message: only its type is logged.
            logger.error("the finisher could not go on with some entries: %s", type(failure).__name__)
            return False
        else:
            self._note_postgresql(refuses=False)
            return is_done
        finally:
            self.idle.set()

    def _note_postgresql(self, *, refuses: bool) -> None:
        if refuses != self._is_refused:
            logger.info("the finisher %s", "gets no answer from PostgreSQL" if refuses else "goes on")
        self._is_refused = refuses

    async def _take_over(self) -> bool:
        claimed = await outbox.claim(sources.DEFAULT, limit=min(self._relay.portion.size, BATCH))
        if claimed.unreadable:
            await outbox.set_aside(claimed.unreadable, reason="unreadable")
        left = await self._deposit(claimed.entries)
        done = len(claimed.entries) - len(left)
        self._taken_over += done
        counts.finished += done
        return not left and any(claimed)

    async def _deposit(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        """What could not be deposited now. Nobody is at work on it: the store may be well again before the claim ends."""
        left = await self._relay.finish(entries)
        if left:
            with contextlib.suppress(StorageUnavailable):
                await outbox.release((entry.conversation_id, entry.seq) for entry in left)
        return left

    def _report(self) -> None:
        if self._taken_over:
            logger.info("the finisher has taken over %d messages", self._taken_over)
            self._taken_over = 0
