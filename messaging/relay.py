"""Committed -> deposited -> hinted.

A process deposits what it has committed itself, many entries at a time. What it cannot deposit it forgets: the entry is in the outbox, its claim
expires, and the finisher of any process takes it over. Everything here may happen twice; the store's writes are idempotent, hints are only hints.

An entry that the store refuses holds up no other: it is looked for by halving, and set aside in the outbox.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from accounts.wire.refusals import StorageUnavailable
from conversations import outbox
from conversations.entries import LogEntry
from conversations.log import CLAIM_SECONDS
from messaging.portions import Portion
from messaging.store.protocol import MessageStore, StoreRefused, StoreUnavailable

logger = logging.getLogger(__name__)

# Deposits begin while the claim that came with the commit has at least a second left.
OWN_SECONDS = CLAIM_SECONDS - 1
LARGEST_DEPOSIT = 400
# An entry of a large group has more than a thousand recipients: so many mailbox rows at once, for the loop and the store to have a breath between.
LARGEST_DEPOSIT_ROWS = 4000
# What takes longer than a store may take is never deposited, however often it is tried.
LARGEST_DEPOSIT_BYTES = 4 * 1024 * 1024
DONE_RETRY_SECONDS = 1.0

Publish = Callable[[Sequence[LogEntry]], None]


class Relay:
    """Takes committed entries to their store and tells their recipients."""

    def __init__(self, store: MessageStore, deposited: Publish, publish: Publish, look: Publish) -> None:
        """`deposited` hears of what is in the store now, and tells its recipients.

        Of what cannot be deposited now, `publish` tells the recipients all the same, or `look` has them look into the outbox.
        """
        self._store = store
        self._hear_deposited = deposited
        self._publish = publish
        self._look = look
        self._committed: deque[tuple[float, LogEntry]] = deque()
        self._deposited: list[tuple[UUID, int]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._depositing = False
        self._finishing = False
        self.store_is_down = False
        self.portion = Portion(LARGEST_DEPOSIT)

    def take(self, entries: Sequence[LogEntry]) -> None:
        """These are committed: deposit them soon. Returns at once, never raises."""
        if self.store_is_down:
            # Nothing is lost and nothing piles up here: the outbox has them, and the finisher tries the store again.
            self._publish(entries)
            return
        now = asyncio.get_running_loop().time()
        self._committed.extend((now, entry) for entry in entries)
        if not self._depositing:
            self._depositing = True
            self._start(self._deposit_while_committed())

    async def _deposit_while_committed(self) -> None:
        try:
            while batch := self._next_batch():
                if not await self._deposit([entry for _, entry in batch]):
                    self._tell_undeposited([*batch, *self._committed])
                    self._committed.clear()
        finally:
            self._depositing = False

    def _tell_undeposited(self, committed: Sequence[tuple[float, LogEntry]]) -> None:
        """Recipients that are connected need no store for what is committed.

        What this process has had for longer, as one that stood still has, may have been delivered, and deleted, by others: the outbox knows.
        """
        late = asyncio.get_running_loop().time() - OWN_SECONDS
        self._publish([entry for taken, entry in committed if taken >= late])
        self._look([entry for taken, entry in committed if taken < late])

    def _next_batch(self) -> list[tuple[float, LogEntry]]:
        """The oldest entries whose claim is still this process's own.

        Where the store falls behind, the rest is left to the finishers: depositing it here as well would double the load that is too much.
        """
        late = asyncio.get_running_loop().time() - OWN_SECONDS
        while self._committed and self._committed[0][0] < late:
            self._committed.popleft()
        size = _deposit_size([entry for _, entry in islice(self._committed, self.portion.size)])
        return [self._committed.popleft() for _ in range(size)]

    async def _deposit(self, batch: Sequence[LogEntry]) -> bool:
        """Whether the store could be asked. What it has now its recipients are told of, and the outbox is going to forget it."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._store.deposit(batch)
        except StoreRefused as failure:
            return await self._deposit_apart(batch, failure)
        except StoreUnavailable as failure:
            self._note_store(failure=failure)
            self.portion.failed(len(batch))
            return False
        except Exception as failure:  # noqa: BLE001
            # Something in an entry that nobody has thought of. It may be quoted: only the type is logged.
            return await self._deposit_apart(batch, failure)
        self._note_store()
        self.portion.taken(len(batch), seconds=loop.time() - began)
        self._hear_deposited(batch)
        self._deposited.extend((entry.conversation_id, entry.seq) for entry in batch)
        if not self._finishing:
            self._finishing = True
            self._start(self._forget_deposited())
        return True

    async def _deposit_apart(self, batch: Sequence[LogEntry], failure: Exception) -> bool:
        """Deposit all but what cannot be deposited, which is set aside."""
        middle = len(batch) // 2
        if middle:
            return await self._deposit(batch[:middle]) and await self._deposit(batch[middle:])
        # Connected recipients read it in the outbox.
        self._look(batch)
        with contextlib.suppress(StorageUnavailable):
            # The driver's error says more than what it was translated to.
            reason = type(failure.__cause__ or failure).__name__
            await outbox.set_aside([(entry.conversation_id, entry.seq) for entry in batch], reason=reason)
        return True

    def _note_store(self, *, failure: StoreUnavailable | None = None) -> None:
        """It has taken something, or has failed."""
        if failure is not None and not self.store_is_down:
            logger.info("the message store is not available; messages wait in the outbox (%s)", failure)
        elif failure is None and self.store_is_down:
            logger.info("the message store is available again")
        self.store_is_down = failure is not None

    async def _forget_deposited(self) -> None:
        """Empty the outbox of what is deposited. What cannot be forgotten now is deposited once more by a finisher: no harm."""
        try:
            while self._deposited:
                done, self._deposited = self._deposited, []
                try:
                    await outbox.done(done)
                except StorageUnavailable:
                    await asyncio.sleep(DONE_RETRY_SECONDS)
        finally:
            self._finishing = False

    async def finish(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        """Deposit what others have committed. What is left when the store could not be asked any more; nothing when all is done."""
        while entries:
            size = _deposit_size(entries[: self.portion.size])
            if not await self._deposit(entries[:size]):
                return entries
            entries = entries[size:]
        return entries

    async def drain(self) -> None:
        """Return when nothing committed here is still on its way to the store."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _deposit_size(entries: Sequence[LogEntry]) -> int:
    """How many of the first of these are deposited together: at least one."""
    rows = size = 0
    for number, entry in enumerate(entries):
        rows += len(entry.recipients)
        size += len(entry.shared or b"") + sum(len(recipient.ciphertext or b"") for recipient in entry.recipients)
        if number and (rows > LARGEST_DEPOSIT_ROWS or size > LARGEST_DEPOSIT_BYTES):
            return number
    return len(entries)
