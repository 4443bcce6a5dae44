"""What time does, done at once: ledger rows that were written many days ago."""

import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from accounts import chores
from accounts.ids import uuid7
from conversations.allocation import EPOCH_MS, SERIAL_BITS
from conversations.models import LedgerRow
from conversations.pruning import LEDGER

DAY_MS = 24 * 3600 * 1000


def days_ago(days: float) -> int:
    return time.time_ns() // 1_000_000 - round(days * DAY_MS)


def row(conversation_id: Any, seq: int, *, days: float, sender: UUID | None, **fields: Any) -> LedgerRow:
    """A ledger row that is so many days old, not saved."""
    then = days_ago(days)
    defaults: dict[str, Any] = {
        "sender_device_id": 1,
        "client_message_id": uuid7(then),
        "kind": "message",
        "message_id": (then - EPOCH_MS) << SERIAL_BITS | seq,
        "position": 1,
        "kept_ms": then,
    }
    return LedgerRow(conversation_id=conversation_id, seq=seq, sender_user_id=sender, **defaults | fields)


@sync_to_async
def age(conversation_id: Any, seqs: Iterable[int], *, days: float) -> None:
    """These entries were committed so many days earlier than they were."""
    for entry in LedgerRow.objects.filter(conversation_id=conversation_id, seq__in=list(seqs)):
        then = entry.kept_ms - round(days * DAY_MS)
        LedgerRow.objects.filter(conversation_id=conversation_id, seq=entry.seq).update(
            kept_ms=then,
            message_id=entry.message_id - (round(days * DAY_MS) << SERIAL_BITS),
            client_message_id=entry.client_message_id if entry.kind == "system" else uuid7(then),
        )


async def forget() -> int:
    """Prune the ledger to its end."""

    async def keep() -> None:
        pass

    return await chores.do(LEDGER, keep)
