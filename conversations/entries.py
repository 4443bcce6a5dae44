"""What the log holds: one committed entry of a conversation, with everything its delivery needs.

Plain frozen values, no framework. An entry is written into the outbox in the transaction that orders it, and is all that any process needs
to deposit it in the message store later.
"""

from typing import Any
from uuid import UUID

import msgspec

MESSAGE = "message"
KEY_DISTRIBUTION = "key_distribution"
SYSTEM = "system"


class Recipient(msgspec.Struct, frozen=True, array_like=True):
    """One device that gets the entry. `ciphertext` is None where the device gets none (system, or shared content it can already read)."""

    user_id: UUID
    device_id: int
    ciphertext: bytes | None = None
    start: bool = False


class LogEntry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One committed entry.

    `seq` is gap-free within the conversation, `position` orders visibility over the whole installation (see `log.py`), `kept_ms` is
    PostgreSQL's clock at the append in milliseconds since 1970: the time of every write and of every bucket.
    """

    conversation_id: UUID
    seq: int
    message_id: int
    position: int
    kept_ms: int
    client_message_id: UUID
    sender_user_id: UUID | None = None
    sender_device_id: int = 0
    sender_device_number: int = 0
    kind: str = MESSAGE
    urgent: bool = True
    shared: bytes | None = None
    system: dict[str, Any] | None = None
    reply_to: int | None = None
    deletes: int | None = None
    deletes_seq: int | None = None
    expires_ms: int | None = None
    recipients: tuple[Recipient, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LogEntry)


def encode(entry: LogEntry) -> bytes:
    """The bundle kept in the outbox."""
    return _encoder.encode(entry)


def decode(bundle: bytes) -> LogEntry:
    """The entry a bundle holds. Raises `msgspec.DecodeError` for anything `encode` did not write."""
    return _decoder.decode(bundle)
