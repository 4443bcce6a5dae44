"""Receipts: delivered and read. Live only; the lasting truth is the mailbox row and the member's read position.

Whoever is not a member any more hears of nothing that happens afterwards, and that others have what they once sent is such a thing.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeGuard
from uuid import UUID

from accounts import clocks, postgresql
from accounts.statements import ask
from accounts.wire.refusals import InvalidRequest, NotFound, StorageUnavailable
from conversations import tallies
from conversations.entries import MESSAGE
from messaging import circles, hints
from messaging.acks import Acknowledged
from messaging.envelopes import Envelope, Mailbox, Notice, Receipt
from messaging.store.protocol import MessageStore, StoreUnavailable

# What waits to be told while PostgreSQL is slow.
MOST_KEPT = 50_000
# Of what was told at least so much is remembered, and twice as much at most.
REMEMBERED = 16_384

# The former position is read before it is overwritten; the row lock keeps two devices of one reader apart.
MOVE = """
WITH before AS (
    SELECT m.id, m.last_read_seq, c.next_seq - 1 AS head FROM conversations_member m
    JOIN conversations_conversation c ON c.id = m.conversation_id
    WHERE m.conversation_id = %s AND m.user_id = %s AND m.left_seq IS NULL FOR UPDATE OF m
), moved AS (
    UPDATE conversations_member m SET last_read_seq = %s FROM before b
    WHERE m.id = b.id AND b.last_read_seq < %s AND b.head >= %s RETURNING m.id
)
SELECT b.last_read_seq, b.head, EXISTS (SELECT FROM moved) FROM before b
"""
SENDERS = """
SELECT DISTINCT ON (sender_user_id) sender_user_id, seq, message_id FROM conversations_ledger
WHERE conversation_id = %s AND seq > %s AND seq <= %s AND kind = 'message' AND sender_user_id <> %s
ORDER BY sender_user_id, seq DESC
"""


def delivered(envelope: Envelope, mailbox: Mailbox) -> Receipt | None:
    """What the sender hears once this device has the message. None for its own other devices, system entries and keys."""
    if envelope.kind != MESSAGE or envelope.sender_user_id is None or envelope.sender_user_id == mailbox.user_id:
        return None
    return Receipt(
        message_id=envelope.message_id,
        conversation_id=envelope.conversation_id,
        seq=envelope.seq,
        user_id=mailbox.user_id,
        device_id=mailbox.device_id,
        delivered_ms=clocks.now_ms(),
    )


class DeliveredReceipts:
    """Tells senders of one process's acks. Everything that gathers while PostgreSQL is asked who is still a member is asked for together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[UUID, Receipt]] = []
        self._task: asyncio.Task[None] | None = None

    def announce(self, written: Sequence[Acknowledged]) -> None:
        """These acks are in the store: tell those senders soon who are members then. Returns at once."""
        self._waiting.extend(
            (item.sender_user_id, item.receipt)
            for item in written
            if item.receipt is not None and item.sender_user_id is not None
        )
        del self._waiting[: max(0, len(self._waiting) - MOST_KEPT)]
        if self._task is None and self._waiting:
            self._task = asyncio.get_running_loop().create_task(self._tell_while_waiting())

    async def drain(self) -> None:
        """Return when everything announced is told, or cannot be."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _tell_while_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                # Where nobody knows who is a member, nobody is told: the mailbox has it.
                with contextlib.suppress(StorageUnavailable):
                    hints.notify_many(await _for_members(batch))
        finally:
            self._task = None


class ToldReceipts:
    """Of which deliveries the devices connected to one process were told lately.

    A device that comes back while its ack is not yet written is sent the message again, acknowledges it again, perhaps to another process, and both
    processes tell the sender's devices. They hear of it once.
    """

    def __init__(self) -> None:
        self._new: set[tuple[int, int, int]] = set()
        self._old: set[tuple[int, int, int]] = set()

    def tell_once(self, device_id: int, notices: Iterable[Notice]) -> list[Notice]:
        """Those of the notices that the device was not told lately; they count as told from now on. Only deliveries are told twice by anybody."""
        return [one for one in notices if not _is_delivery(one) or self._note(device_id, one)]

    def _note(self, device_id: int, receipt: Receipt) -> bool:
        told = (device_id, receipt.message_id, receipt.device_id)
        if told in self._new or told in self._old:
            return False
        if len(self._new) >= REMEMBERED:
            self._new, self._old = set(), self._new
        self._new.add(told)
        return True


def _is_delivery(notice: Notice) -> TypeGuard[Receipt]:
    return isinstance(notice, Receipt) and notice.delivered_ms is not None


async def _for_members(receipts: Sequence[tuple[UUID, Receipt]]) -> dict[UUID, list[Notice]]:
    """Of these receipts those whose sender is a member now, by sender. Raises StorageUnavailable."""
    there = await circles.still_there({(receipt.conversation_id, sender) for sender, receipt in receipts})
    notices: defaultdict[UUID, list[Notice]] = defaultdict(list)
    for sender, receipt in receipts:
        if (receipt.conversation_id, sender) in there:
            notices[sender].append(receipt)
    return notices


async def read(reader: Mailbox, conversation_id: UUID, seq: int, store: MessageStore) -> None:
    """The reader's user has read up to `seq`. The mark never goes back; who has messages in the newly read range is told once.

    Raises NotFound for a stranger, InvalidRequest above the head, StorageUnavailable.
    """
    async with postgresql.connection() as conn, conn.transaction():
        rows = await (await ask(conn, MOVE, [conversation_id, reader.user_id, seq, seq, seq])).fetchall()
        if not rows:
            raise NotFound
        before, head, moved = rows[0]
        if seq > head:
            raise InvalidRequest("Nothing was said there yet.", field="seq")
        newly = [conversation_id, before, seq, reader.user_id]
        forgotten = await (await ask(conn, tallies.SENDERS, newly)).fetchall() if moved else []
        senders = await (await ask(conn, SENDERS, newly)).fetchall() if moved else []
        wanted = {row[0] for row in (*forgotten, *senders)}
        told = await circles.told_of_reading(conn, reader.user_id, conversation_id, wanted) if wanted else set()
    older = await _older(reader, conversation_id, dict(forgotten), {row[0] for row in senders}, store)
    _announce_read(reader, conversation_id, [*senders, *older], told)


async def _older(
    reader: Mailbox, conversation_id: UUID, last: Mapping[UUID, int], known: Container[UUID], store: MessageStore
) -> list[tuple[UUID, int, int]]:
    """The same of senders whose last message the ledger has forgotten. The store knows its message_id; if not now, they are not told."""
    wanted = [(sender, seq) for sender, seq in last.items() if sender not in known]
    try:
        found = [
            (sender, seq, await store.history(reader, conversation_id, from_seq=seq, to_seq=seq))
            for sender, seq in wanted
        ]
    except StoreUnavailable:
        return []
    return [(sender, seq, envelope.message_id) for sender, seq, envelopes in found for envelope in envelopes]


def _announce_read(
    reader: Mailbox, conversation_id: UUID, senders: Iterable[Sequence[Any]], told: Container[UUID]
) -> None:
    """Leaving or a setting keeps receipts from others, never from the reader's own devices, which count what is unread."""
    now_ms = clocks.now_ms()
    for sender_user_id, seq, message_id in senders:
        receipt = Receipt(
            message_id=message_id,
            conversation_id=conversation_id,
            seq=seq,
            user_id=reader.user_id,
            device_id=reader.device_id,
            read_ms=now_ms,
        )
        if sender_user_id in told:
            hints.notify([sender_user_id], receipt)
        hints.notify([reader.user_id], receipt, except_device=reader.device_id)
