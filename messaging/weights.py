"""How much waits in each mailbox: roughly, from what this process deposits and what is acknowledged here; exactly, once that looks like too much.

No send and no ack reads anything for it. Differences add up in memory and are written when they are large enough to matter; those of a device that
takes what it gets cancel out. Only a mailbox that seems to be nearly full is read and counted.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts import clocks, statements
from accounts.arrays import bigints
from accounts.wire.refusals import StorageUnavailable
from conversations.entries import LogEntry
from messaging.acks import Acknowledged
from messaging.counts import counts
from messaging.envelopes import Mailbox
from messaging.store.protocol import MessageStore, StoreUnavailable

logger = logging.getLogger(__name__)

# What a row weighs beside its ciphertext, about.
ROW_BYTES = 200
WRITE_SECONDS = 10.0
# A difference is written when it is so large a part of the limit; and each of them once in a while.
PART = 100
SELDOM_SECONDS = 3600.0
SUSPICIOUS = 0.9
PAGE = 256
# What was counted longer ago may have been taken since: a device does not take a full mailbox in this time.
COUNT_HOLDS_SECONDS = 20.0

ADD = """
UPDATE devices_device d SET pending_rows = d.pending_rows + n.rows, pending_bytes = d.pending_bytes + n.bytes
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS n (id, rows, bytes)
WHERE d.id = n.id AND d.active
RETURNING d.id, d.user_id, d.pending_rows, d.pending_bytes, d.mailbox_full
"""
COUNTED = """
UPDATE devices_device SET pending_rows = %s, pending_bytes = %s, mailbox_full = %s
WHERE id = %s AND active AND clock_timestamp() BETWEEN %s AND %s + make_interval(secs => %s)
RETURNING id
"""


class Weights:
    """The differences of one process. `run` writes them down and looks into what seems too full."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._differences: dict[int, list[int]] = {}
        self._all_written_at = 0.0

    def deposited(self, entries: Iterable[LogEntry]) -> None:
        """These are in the mailboxes of their recipients."""
        for entry in entries:
            for recipient in entry.recipients:
                self._add(recipient.device_id, 1, row_bytes(recipient.ciphertext))

    def acknowledged(self, written: Iterable[Acknowledged]) -> None:
        """These have left their mailboxes."""
        for item in written:
            if item.weight:
                self._add(item.ack.mailbox.device_id, -1, -item.weight)

    def _add(self, device_id: int, rows: int, size: int) -> None:
        difference = self._differences.setdefault(device_id, [0, 0])
        difference[0] += rows
        difference[1] += size

    async def run(self) -> None:
        """For ever. Outlives the outage of every store."""
        self._all_written_at = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            now = asyncio.get_running_loop().time()
            is_time = now - self._all_written_at > SELDOM_SECONDS
            if is_time:
                self._all_written_at = now
            await self.write(everything=is_time)

    async def write(self, *, everything: bool) -> None:
        """Write down the differences that matter, or all; count in the mailboxes that seem nearly full. What cannot be written now is kept."""
        most_rows, most_bytes = limits()
        due = {
            device_id: difference
            for device_id, difference in self._differences.items()
            if everything or abs(difference[0]) >= most_rows / PART or abs(difference[1]) >= most_bytes / PART
        }
        if not due:
            return
        for device_id in due:
            del self._differences[device_id]
        try:
            suspects = await _added({key: difference for key, difference in due.items() if any(difference)})
        except StorageUnavailable:
            self._put_back(due)
            return
        except Exception:
            self._put_back(due)
            raise
        for mailbox in suspects:
            await self._count(mailbox)

    def _put_back(self, due: dict[int, list[int]]) -> None:
        for device_id, (rows, size) in due.items():
            self._add(device_id, rows, size)

    async def _count(self, mailbox: Mailbox) -> None:
        most_rows, most_bytes = limits()
        try:
            began = await statements.now()
            async with asyncio.timeout(COUNT_HOLDS_SECONDS):
                rows, size = await weigh(self._store, mailbox, most_rows=most_rows, most_bytes=most_bytes)
            is_full = rows >= most_rows or size >= most_bytes
            is_noted = await _counted(mailbox, rows, size, is_full=is_full, began=began)
        except (StoreUnavailable, StorageUnavailable, TimeoutError):
            return
        if is_full and is_noted:
            counts.filled += 1
            logger.warning("A mailbox is full: device %s, %d rows, %d bytes", mailbox.device_id, rows, size)


def limits() -> tuple[float, float]:
    """How many rows and bytes a mailbox may have; 0 in the settings is no limit."""
    rows, size = settings.LIMITS["MAILBOX_ROWS"][0], settings.LIMITS["MAILBOX_BYTES"][0]
    return rows or float("inf"), size or float("inf")


def row_bytes(ciphertext: bytes | None) -> int:
    """About what a mailbox row with this ciphertext weighs."""
    return ROW_BYTES + len(ciphertext or b"")


async def _added(differences: dict[int, list[int]]) -> list[Mailbox]:
    """Write these down. Which mailboxes seem to be nearly full, and are not known to be."""
    if not differences:
        return []
    most_rows, most_bytes = limits()
    columns = [
        bigints(differences),
        bigints(rows for rows, _ in differences.values()),
        bigints(size for _, size in differences.values()),
    ]
    found: Sequence[tuple[int, UUID, int, int, bool]] = await statements.rows(ADD, columns)
    return [
        Mailbox(user_id, device_id)
        for device_id, user_id, rows, size, is_full in found
        if not is_full and (rows >= SUSPICIOUS * most_rows or size >= SUSPICIOUS * most_bytes)
    ]


async def _counted(mailbox: Mailbox, rows: int, size: int, *, is_full: bool, began: datetime) -> bool:
    """Write down what was counted. Whether that was soon enough after it began: this process may have been stopped in between."""
    values = [rows, size, is_full, mailbox.device_id, began, began, COUNT_HOLDS_SECONDS]
    return bool(await statements.rows(COUNTED, values))


async def weigh(store: MessageStore, mailbox: Mailbox, *, most_rows: float, most_bytes: float) -> tuple[int, int]:
    """Rows and bytes that wait in the mailbox, roughly: counted until one of them is as much as asked for. Raises `StoreUnavailable`."""
    since, now_ms = await store.cursor(mailbox), clocks.now_ms()
    rows = size = 0
    page: Any = None
    while True:
        read = await store.pending(mailbox, since=since, now_ms=now_ms, page=page, limit=PAGE)
        rows += len(read.envelopes) + len(read.unreadable)
        size += sum(row_bytes(envelope.ciphertext) for envelope in read.envelopes)
        page = read.next_page
        if page is None or rows >= most_rows or size >= most_bytes:
            return rows, size
