"""Receipts: delivered and read. Live only; the lasting truth is the mailbox row and the member's read position."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from accounts import clocks, postgresql
from accounts.connections import Connection
from accounts.statements import ask
from accounts.wire.refusals import InvalidRequest, NotFound
from conversations import tallies
from conversations.entries import MESSAGE
from messaging import circles, hints
from messaging.acks import Acknowledged
from messaging.envelopes import Envelope, Mailbox, Notice, Receipt
from messaging.store.protocol import MessageStore, StoreUnavailable

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


def announce(written: Sequence[Acknowledged]) -> None:
    """These acks are in the store: tell the senders."""
    notices: defaultdict[UUID, list[Notice]] = defaultdict(list)
    for item in written:
        if item.receipt is not None and item.sender_user_id is not None:
            notices[item.sender_user_id].append(item.receipt)
    hints.notify_many(notices)


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
        silent = await _silent(conn, [reader.user_id, *(row[0] for row in (*forgotten, *senders))]) if moved else set()
    older = await _older(reader, conversation_id, dict(forgotten), {row[0] for row in senders}, store)
    _announce_read(reader, conversation_id, [*senders, *older], silent)


async def _silent(conn: Connection, user_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these people who do not want read receipts."""
    return {row[0] for row in await (await ask(conn, circles.SILENT_READERS, [list(user_ids)])).fetchall()}


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
    reader: Mailbox, conversation_id: UUID, senders: Iterable[Sequence[Any]], silent: Container[UUID]
) -> None:
    """A setting keeps receipts from others, never from the reader's own devices, which count what is unread."""
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
        if sender_user_id not in silent and reader.user_id not in silent:
            hints.notify([sender_user_id], receipt)
        hints.notify([reader.user_id], receipt, except_device=reader.device_id)
