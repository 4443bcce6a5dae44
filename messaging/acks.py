"""Acknowledgements on their way to the store, many at a time; and the receipts that follow when they are there."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from accounts import statements
from messaging.envelopes import Ack, Mailbox, Receipt
from messaging.portions import Portion
from messaging.store.protocol import MessageStore, StoreRefused, StoreUnavailable

logger = logging.getLogger(__name__)

LARGEST_WRITE = 1000
MOST_KEPT = 50_000
PAUSES = (0.5, 1.0, 2.0, 5.0)

KNOWN = """
SELECT l.message_id, l.position, l.kept_ms, l.expires_ms FROM conversations_ledger l
WHERE l.message_id = ANY(%s) AND l.sender_device_id <> %s AND EXISTS (
    SELECT FROM conversations_member m
    WHERE m.conversation_id = l.conversation_id AND m.user_id = %s AND l.seq BETWEEN m.joined_seq AND COALESCE(m.left_seq, l.seq))
"""


class Acknowledged(msgspec.Struct, frozen=True):
    """One ack, and the receipt its sender gets once it is written (None where nobody is told). `weight`: what leaves the mailbox, where known."""

    ack: Ack
    receipt: Receipt | None = None
    sender_user_id: UUID | None = None
    weight: int = 0


Written = Callable[[Sequence[Acknowledged]], None]


class AckWriter:
    """Writes acks of one process. While the store is down they are kept here, bounded; what is dropped is delivered once more and acked again."""

    def __init__(self, store: MessageStore, written: Written) -> None:
        self._store = store
        self._written = written
        self._waiting: list[Acknowledged] = []
        self._portion = Portion(LARGEST_WRITE)
        self._task: asyncio.Task[None] | None = None

    def add(self, acknowledged: Sequence[Acknowledged]) -> None:
        """Write these soon. Returns at once."""
        self._waiting.extend(acknowledged)
        del self._waiting[: max(0, len(self._waiting) - MOST_KEPT)]
        if self._task is None and self._waiting:
            self._task = asyncio.get_running_loop().create_task(self._write_while_waiting())

    async def _write_while_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        try:
            while self._waiting:
                batch = self._waiting[: self._portion.size]
                del self._waiting[: self._portion.size]
                began = loop.time()
                try:
                    await self._store.acknowledge([item.ack for item in batch])
                except StoreRefused as refused:
                    self._take_apart(batch, refused)
                except StoreUnavailable:
                    self._waiting[:0] = batch
                    self._portion.failed(len(batch))
                    await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                    failures += 1
                else:
                    failures = 0
                    self._portion.taken(len(batch), seconds=loop.time() - began)
                    self._written(batch)
        finally:
            self._task = None

    def _take_apart(self, batch: Sequence[Acknowledged], refused: StoreRefused) -> None:
        """Have the halves written each by itself; an ack that stands alone is dropped: its message comes once more."""
        if len(batch) == 1:
            ack = batch[0].ack
            logger.error(
                "An ack was refused (%s): device %s, message %s", refused, ack.mailbox.device_id, ack.message_id
            )
            return
        self._portion.refused(len(batch))
        self._waiting[:0] = batch

    async def drain(self) -> None:
        """Return when everything added is written."""
        while self._task is not None:
            await asyncio.wait({self._task})


async def acknowledge_known(mailbox: Mailbox, message_ids: Sequence[int], acks: AckWriter) -> None:
    """Acknowledge those of these messages that were for the device; other ids are ignored. Raises StorageUnavailable.

    For what is not in flight on the socket that acknowledges it: it came over HTTP, or on an earlier socket.
    """
    rows = await statements.rows(KNOWN, [list(message_ids), mailbox.device_id, mailbox.user_id])
    acks.add([Acknowledged(Ack(mailbox, *row)) for row in rows])
