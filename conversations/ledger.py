"""The ledger, read: which entries are committed, and which sends they were."""

from uuid import UUID

import msgspec

from accounts import statements
from accounts.ids import uuid7_ms
from conversations.planning import IDEMPOTENCY_MS

FACTS = """
SELECT seq, sender_device_id, position, kept_ms FROM conversations_ledger WHERE conversation_id = %s AND seq BETWEEN %s AND %s
"""
COMMITTED = """
SELECT EXISTS (SELECT FROM conversations_ledger WHERE conversation_id = %s AND sender_device_id = %s AND client_message_id = %s),
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint
"""


class Fact(msgspec.Struct, frozen=True):
    """What is known of an entry without its content. `sender_device_id` is 0 for what the server wrote."""

    sender_device_id: int
    position: int
    kept_ms: int


async def facts(conversation_id: UUID, from_seq: int, to_seq: int) -> dict[int, Fact]:
    """The committed entries of this range, by seq, as far back as the ledger goes."""
    return {row[0]: Fact(*row[1:]) for row in await statements.rows(FACTS, [conversation_id, from_seq, to_seq])}


async def is_committed(conversation_id: UUID, device_id: int, client_message_id: UUID) -> bool:
    """Whether this send of the device is in the log; or was or never will be, which is no longer known of one past the idempotency horizon."""
    [[found, now_ms]] = await statements.rows(COMMITTED, [conversation_id, device_id, client_message_id])
    made_ms = uuid7_ms(client_message_id)
    return bool(found) or (made_ms is not None and now_ms - made_ms > IDEMPOTENCY_MS)
