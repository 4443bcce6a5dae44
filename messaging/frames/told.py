"""What the server says."""

from typing import Any
from uuid import UUID

import msgspec

from messaging.condition import Store


class ServerFrame(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """What the server says. Fields at their default are left out."""


class Window(msgspec.Struct, frozen=True):
    envelopes: int
    bytes: int


class ReadyFrame(ServerFrame, frozen=True, tag="ready", kw_only=True):
    user_id: UUID
    device_id: str
    server_time: str
    window: Window
    ref: str | None = None


class EnvelopeFrame(ServerFrame, frozen=True, tag="envelope", kw_only=True):
    message_id: str
    conversation_id: UUID
    seq: int
    client_message_id: UUID
    kind: str
    sent_at: str
    start: bool = False
    sender_user_id: UUID | None = None
    sender_device_id: str | None = None
    sender_device_number: int = 0
    ciphertext: bytes | None = None
    shared: bytes | None = None
    system: dict[str, Any] | None = None
    reply_to: str | None = None
    deletes: str | None = None
    expires_at: str | None = None
    urgent: bool = True
    deleted: bool = False


class QueueEmptyFrame(ServerFrame, frozen=True, tag="queue_empty"):
    pass


class SentFrame(ServerFrame, frozen=True, tag="sent", kw_only=True):
    conversation_id: UUID
    client_message_id: UUID
    message_id: str
    seq: int
    sent_at: str
    duplicate: bool
    ref: str | None = None


class ReceiptFrame(ServerFrame, frozen=True, tag="receipt", kw_only=True):
    message_id: str
    conversation_id: UUID
    seq: int
    user_id: UUID
    device_id: str
    delivered_at: str | None = None
    read_at: str | None = None


class TypingNoticeFrame(ServerFrame, frozen=True, tag="typing", kw_only=True):
    conversation_id: UUID
    user_id: UUID
    active: bool


class CallNoticeFrame(ServerFrame, frozen=True, tag="call", kw_only=True):
    conversation_id: UUID
    sender_user_id: UUID
    sender_device_id: str
    signal: str
    body: bytes


class PersonFields(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    user_id: UUID
    online: bool
    last_seen_at: str | None = None


class PresenceNoticeFrame(ServerFrame, frozen=True, tag="presence", kw_only=True):
    users: list[PersonFields]
    ref: str | None = None


class DevicesChangedFrame(ServerFrame, frozen=True, tag="devices_changed", kw_only=True):
    user_id: UUID
    device_id: str | None = None
    reason: str | None = None


class PrekeysLowFrame(ServerFrame, frozen=True, tag="prekeys_low", kw_only=True):
    count: int
    pq_count: int | None = None


class DegradedFrame(ServerFrame, frozen=True, tag="degraded", kw_only=True):
    stores: tuple[Store, ...]


class PongFrame(ServerFrame, frozen=True, tag="pong", kw_only=True):
    ref: str | None = None


SERVER_FRAMES: tuple[type[ServerFrame], ...] = (
    ReadyFrame,
    EnvelopeFrame,
    QueueEmptyFrame,
    SentFrame,
    ReceiptFrame,
    TypingNoticeFrame,
    CallNoticeFrame,
    PresenceNoticeFrame,
    DevicesChangedFrame,
    PrekeysLowFrame,
    DegradedFrame,
    PongFrame,
)
