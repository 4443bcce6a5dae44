"""Parcels: the bytes of one mailbox row. An acknowledgement empties them; what remains of the row is its key."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from conversations.entries import LogEntry, Recipient
from messaging.envelopes import Envelope, Page, Unreadable


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What every recipient of an entry gets alike."""

    client_message_id: UUID
    kept_ms: int
    kind: str
    sender_user_id: UUID | None
    sender_device_id: int
    sender_device_number: int
    urgent: bool
    has_shared: bool
    system: dict[str, Any] | None
    reply_to: int | None
    deletes: int | None
    expires_ms: int | None


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """One recipient's row: the common header, and what is meant for this device alone."""

    header: Header
    ciphertext: bytes | None
    start: bool


class Undecodable(Exception):
    """These bytes are no parcel."""


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Parcel)


def header_of(entry: LogEntry) -> Header:
    """The header of an entry; made once for all its recipients."""
    return Header(
        entry.client_message_id,
        entry.kept_ms,
        entry.kind,
        entry.sender_user_id,
        entry.sender_device_id,
        entry.sender_device_number,
        entry.urgent,
        entry.shared is not None,
        entry.system,
        entry.reply_to,
        entry.deletes,
        entry.expires_ms,
    )


def pack(header: Header, recipient: Recipient) -> bytes:
    """The bytes kept for one recipient."""
    return _encoder.encode(Parcel(header, recipient.ciphertext, recipient.start))


def unpack(data: bytes) -> Parcel:
    """The parcel in these bytes. Raises `Undecodable`, which never names the content."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Undecodable from None


def own(data: bytes | None) -> Parcel | None:
    """The reader's own parcel beside a history row, if its mailbox row still holds one that can be read."""
    try:
        return unpack(data) if data else None
    except Undecodable:
        return None


class Found(msgspec.Struct, frozen=True):
    """An envelope as its mailbox row has it. Content that all recipients share is kept once, in the history."""

    envelope: Envelope
    has_shared: bool


class Content(msgspec.Struct, frozen=True):
    """Shared content as the history has it."""

    shared: bytes | None
    deleted: bool


Shared = Mapping[tuple[UUID, int], Content]


class Opened(NamedTuple):
    """What the rows of a page hold, and those that hold nothing anybody can read."""

    found: list[Found]
    unreadable: list[Unreadable]


def opened(rows: Iterable[tuple[Any, ...]], *, kept_ms: int = 0) -> Opened:
    """What is in rows (position, message_id, conversation_id, seq, parcel, …), all kept at `kept_ms` or later."""
    page = Opened([], [])
    for position, message_id, conversation_id, seq, data, *_ in rows:
        try:
            parcel = unpack(data)
        except Undecodable:
            page.unreadable.append(Unreadable(message_id, conversation_id, seq, position, kept_ms))
            continue
        made = _envelope(parcel, message_id=message_id, conversation_id=conversation_id, seq=seq, position=position)
        page.found.append(Found(made, parcel.header.has_shared))
    return page


def page(rows: Opened, shared: Shared, next_page: bytes | None) -> Page:
    """The page, with shared content filled in. An envelope whose shared content is lost is as unreadable as one that is damaged."""
    envelopes, lost = [], []
    for one in rows.found:
        whole = _whole(one, shared)
        if whole is not None:
            envelopes.append(whole)
        else:
            lost.append(_unreadable(one.envelope))
    return Page(tuple(envelopes), next_page, (*rows.unreadable, *lost))


def _unreadable(envelope: Envelope) -> Unreadable:
    return Unreadable(envelope.message_id, envelope.conversation_id, envelope.seq, envelope.position, envelope.kept_ms)


def _whole(one: Found, shared: Shared) -> Envelope | None:
    envelope = one.envelope
    if not one.has_shared:
        return envelope
    content = shared.get((envelope.conversation_id, envelope.seq))
    if content is None or (content.shared is None and not content.deleted):
        return None
    return msgspec.structs.replace(
        envelope, shared=None if content.deleted else content.shared, deleted=content.deleted
    )


def _envelope(parcel: Parcel, *, message_id: int, conversation_id: UUID, seq: int, position: int) -> Envelope:
    """The envelope of a parcel found under this key; shared content is not in it yet."""
    header = parcel.header
    return Envelope(
        message_id=message_id,
        conversation_id=conversation_id,
        seq=seq,
        client_message_id=header.client_message_id,
        position=position,
        kept_ms=header.kept_ms,
        kind=header.kind,
        start=parcel.start,
        sender_user_id=header.sender_user_id,
        sender_device_id=header.sender_device_id,
        sender_device_number=header.sender_device_number,
        ciphertext=parcel.ciphertext,
        system=header.system,
        reply_to=header.reply_to,
        deletes=header.deletes,
        expires_ms=header.expires_ms,
        urgent=header.urgent,
    )


def history_envelope(entry: LogEntry, data: bytes | None, *, gone: bool) -> Envelope:
    """A history row (as the entry it was, without recipients) beside the reader's own parcel; `gone` when deleted or expired."""
    parcel = own(data)
    return Envelope(
        message_id=entry.message_id,
        conversation_id=entry.conversation_id,
        seq=entry.seq,
        client_message_id=entry.client_message_id,
        position=entry.position,
        kept_ms=entry.kept_ms,
        kind=entry.kind,
        start=parcel is not None and parcel.start,
        sender_user_id=entry.sender_user_id,
        sender_device_id=entry.sender_device_id,
        sender_device_number=entry.sender_device_number,
        ciphertext=None if gone or parcel is None else parcel.ciphertext,
        shared=None if gone else entry.shared,
        system=entry.system,
        reply_to=entry.reply_to,
        deletes=entry.deletes,
        expires_ms=entry.expires_ms,
        urgent=entry.urgent,
        deleted=gone,
    )
