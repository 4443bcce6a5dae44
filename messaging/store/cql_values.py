"""Values as Cassandra's protocol has them. Encoded here, because the driver's own binding is most of what a row costs."""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any
from uuid import UUID

import msgspec
from cassandra.query import UNSET_VALUE

from conversations.entries import LogEntry

tinyint, integer, bigint = Struct(">b").pack, Struct(">i").pack, Struct(">q").pack


def bigints(values: Sequence[int]) -> bytes:
    """A list<bigint>."""
    return integer(len(values)) + b"".join(integer(8) + bigint(value) for value in values)


def or_unset(data: bytes | None) -> Any:
    """The value itself, or none at all: a null would be a tombstone."""
    return UNSET_VALUE if data is None else data


def history_values(entry: LogEntry) -> Iterator[Any]:
    """The columns of KEEP between the key and the content."""
    yield bigint(entry.message_id)
    yield bigint(entry.position)
    yield bigint(entry.kept_ms)
    yield entry.client_message_id.bytes
    yield or_unset(None if entry.sender_user_id is None else entry.sender_user_id.bytes)
    yield bigint(entry.sender_device_id)
    yield integer(entry.sender_device_number)
    yield entry.kind.encode()
    yield tinyint(entry.urgent)
    for number in (entry.expires_ms, entry.reply_to, entry.deletes):
        yield or_unset(None if number is None else bigint(number))
    yield or_unset(None if entry.system is None else msgspec.json.encode(entry.system))


_HISTORY_FIELDS = (
    *("message_id", "seq", "client_message_id", "position", "kept_ms", "kind", "sender_user_id", "sender_device_id"),
    *("sender_device_number", "reply_to", "deletes", "expires_ms"),
)


def history_entry(conversation_id: UUID, row: Sequence[Any]) -> LogEntry:
    """The entry of a row of RANGE."""
    *values, urgent, system, content, _ = row
    fields = dict(zip(_HISTORY_FIELDS, values, strict=True))
    decoded = None if system is None else msgspec.json.decode(system)
    return LogEntry(conversation_id=conversation_id, urgent=bool(urgent), system=decoded, shared=content, **fields)
