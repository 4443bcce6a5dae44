"""Envelopes: what one device gets of one committed entry, and the values that travel around it. Frozen, no framework."""

from typing import Any
from uuid import UUID

import msgspec

from accounts.lineage import Mark
from conversations.entries import LogEntry, Recipient


class Mailbox(msgspec.Struct, frozen=True):
    """Whose mailbox: one device of one user."""

    user_id: UUID
    device_id: int


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One message as one device sees it. `position` and `kept_ms` are its mailbox key and never leave the server."""

    message_id: int
    conversation_id: UUID
    seq: int
    client_message_id: UUID
    position: int
    kept_ms: int
    kind: str
    start: bool = False
    sender_user_id: UUID | None = None
    sender_device_id: int = 0
    sender_device_number: int = 0
    ciphertext: bytes | None = None
    shared: bytes | None = None
    system: dict[str, Any] | None = None
    reply_to: int | None = None
    deletes: int | None = None
    expires_ms: int | None = None
    urgent: bool = True
    deleted: bool = False

    @property
    def size(self) -> int:
        """Bytes this envelope weighs in a delivery window."""
        return 256 + len(self.ciphertext or b"") + len(self.shared or b"")


class Ack(msgspec.Struct, frozen=True):
    """One device has one message: everything that names the mailbox row."""

    mailbox: Mailbox
    message_id: int
    position: int
    kept_ms: int
    expires_ms: int | None = None


class Cursor(msgspec.Struct, frozen=True):
    """Where the drain of one mailbox begins: rows at or below `low_position` are acknowledged for good; older buckets hold nothing."""

    low_position: int = 0
    low_bucket: int = 0


class Unreadable(msgspec.Struct, frozen=True):
    """A mailbox row that no envelope can be made of. It was kept at `kept_ms` or later."""

    message_id: int
    conversation_id: UUID
    seq: int
    position: int
    kept_ms: int


class Page(msgspec.Struct, frozen=True):
    """Un-acknowledged envelopes of one page. `next_page` is None only at the end of the mailbox, however many envelopes the page has."""

    envelopes: tuple[Envelope, ...]
    next_page: bytes | None = None
    unreadable: tuple[Unreadable, ...] = ()


class Heartbeat(Mark, frozen=True):
    """Which PostgreSQL a store belongs to, as it was at the last beat, and the data centre whose quorum counts for its clients."""

    local_dc: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, tag="receipt"):
    """A device has a message (`delivered_ms`), or its user has read up to it (`read_ms`)."""

    message_id: int
    conversation_id: UUID
    seq: int
    user_id: UUID
    device_id: int
    delivered_ms: int | None = None
    read_ms: int | None = None


class DevicesChanged(msgspec.Struct, frozen=True, tag="devices_changed"):
    """Somebody's list of devices, or the state of one of them, is another."""

    user_id: UUID
    device_id: int | None = None
    reason: str | None = None


class PrekeysLow(msgspec.Struct, frozen=True, tag="prekeys_low"):
    """A device should upload one-time prekeys."""

    count: int
    pq_count: int | None = None


class Typing(msgspec.Struct, frozen=True, tag="typing"):
    """Somebody types, or has stopped."""

    conversation_id: UUID
    user_id: UUID
    active: bool


class Call(msgspec.Struct, frozen=True, tag="call"):
    """What a device has to say about a call. The server does not look into the body."""

    conversation_id: UUID
    sender_user_id: UUID
    sender_device_id: int
    signal: str
    body: bytes


Notice = Receipt | DevicesChanged | PrekeysLow | Typing | Call


class Close(msgspec.Struct, frozen=True):
    """Sockets of a device are to be closed with `code`; with `before`, only those of an earlier connection id."""

    code: int
    before: int | None = None


class Hint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is published for a device or a user. Losing one loses nothing: envelopes are in the mailbox, and every socket sweeps."""

    envelopes: tuple[Envelope, ...] = ()
    notices: tuple[Notice, ...] = ()
    look: bool = False
    close: Close | None = None
    # A notice for a user's devices does not go to this one.
    except_device: int = 0


def envelope_of(entry: LogEntry, recipient: Recipient) -> Envelope:
    """The entry as one of its recipients sees it."""
    return Envelope(
        message_id=entry.message_id,
        conversation_id=entry.conversation_id,
        seq=entry.seq,
        client_message_id=entry.client_message_id,
        position=entry.position,
        kept_ms=entry.kept_ms,
        kind=entry.kind,
        start=recipient.start,
        sender_user_id=entry.sender_user_id,
        sender_device_id=entry.sender_device_id,
        sender_device_number=entry.sender_device_number,
        ciphertext=recipient.ciphertext,
        shared=entry.shared,
        system=entry.system,
        reply_to=entry.reply_to,
        deletes=entry.deletes,
        expires_ms=entry.expires_ms,
        urgent=entry.urgent,
    )
