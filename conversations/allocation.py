"""Giving out places in the log: seq, message_id and position. The only module that does, whichever road asks."""

from collections.abc import Iterator
from uuid import UUID

import msgspec

from accounts.positions import XID_BITS, XID_MASK

# 2025-01-01T00:00Z; 41 bits of milliseconds from here last until 2094.
EPOCH_MS = 1_735_689_600_000
SERIAL_BITS = 22
SERIAL_MASK = (1 << SERIAL_BITS) - 1


class Head(msgspec.Struct):
    """The end of a conversation's log, read under its row lock; moves with each allocation."""

    conversation_id: UUID
    kind: str
    source: str
    next_seq: int
    last_message_id: int
    last_position: int
    blocked: bool = False

    @property
    def era(self) -> int:
        """The era of the last entry."""
        return self.last_position >> XID_BITS


class Newest(msgspec.Struct, frozen=True):
    """The newest entry of a conversation that its store has; `message_id` 0: none above the seq it was asked for."""

    seq: int
    message_id: int = 0


class Moment(msgspec.Struct):
    """When a transaction happens: PostgreSQL's clock, the transaction's position, and serial numbers that are unique on the server.

    Sends made until `forgotten_ms` may be gone from the ledger (`pruning`).
    """

    now_ms: int
    position: int
    serials: Iterator[int]
    forgotten_ms: int = 0

    @property
    def era(self) -> int:
        """The era in which it happens."""
        return self.position >> XID_BITS


class Place(msgspec.Struct, frozen=True):
    """One place in the log."""

    seq: int
    message_id: int
    position: int


def allocate(head: Head, moment: Moment) -> Place:
    """The next place of the conversation; the head moves on.

    Within a conversation seq is gap-free and message_id and position never fall, whatever the clock did. A message_id is unique on the server:
    its low bits are a serial number, its high bits the millisecond, moved on by one where it would not exceed the conversation's last.
    """
    place = Place(head.next_seq, _message_id(head, moment), _position(head, moment))
    head.next_seq += 1
    head.last_message_id = place.message_id
    head.last_position = place.position
    return place


def _message_id(head: Head, moment: Moment) -> int:
    serial = next(moment.serials) & SERIAL_MASK
    fresh = ((moment.now_ms - EPOCH_MS) << SERIAL_BITS) | serial
    if fresh > head.last_message_id:
        return fresh
    return (((head.last_message_id >> SERIAL_BITS) + 1) << SERIAL_BITS) | serial


def _position(head: Head, moment: Moment) -> int:
    timeline = moment.position & ~XID_MASK
    return timeline | max(head.last_position & XID_MASK, moment.position & XID_MASK)
