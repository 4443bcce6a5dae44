"""What a client tells its owner. The first group is kept on disk until it was seen; the second is live only."""

from datetime import datetime
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Something that happened."""


class Message(Event, frozen=True, kw_only=True, omit_defaults=True, tag="message"):
    """A text, in its place in the conversation."""

    conversation_id: str
    seq: int
    message_id: str
    client_message_id: str
    sender_user_id: str
    sender_device_id: str
    text: str
    sent_at: datetime
    written_at: datetime | None = None
    reply_to: str | None = None
    own: bool = False
    late: bool = False


class SystemEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="system"):
    """A change of a conversation: who joined, left, was removed, which devices came and went."""

    conversation_id: str
    seq: int
    message_id: str
    event: str
    actor_user_id: str | None = None
    user_id: str | None = None
    details: dict[str, Any] = {}
    sent_at: datetime | None = None
    late: bool = False


class Unreadable(Event, frozen=True, kw_only=True, omit_defaults=True, tag="unreadable"):
    """A message is here that this device cannot read. `reason` says why, without any content."""

    conversation_id: str
    seq: int
    message_id: str
    reason: str
    sender_user_id: str | None = None
    sender_device_id: str | None = None
    sent_at: datetime | None = None
    late: bool = False


class Missing(Event, frozen=True, kw_only=True, omit_defaults=True, tag="missing"):
    """The messages of this range will not come: the server no longer has them for this device."""

    conversation_id: str
    from_seq: int
    to_seq: int


class IdentityChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="identity_changed"):
    """A known device has a new identity key: re-installed, or someone stands in between. Compare fingerprints."""

    user_id: str
    device_id: str
    old_fingerprint: str
    new_fingerprint: str


class DeviceAdded(Event, frozen=True, kw_only=True, omit_defaults=True, tag="device_added"):
    """A known person has a new device. `vouched`: a known device of theirs signed for it."""

    user_id: str
    device_id: str
    fingerprint: str
    vouched: bool


class SendFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="send_failed"):
    """A queued message was refused for good. Nothing of it was stored."""

    conversation_id: str
    client_message_id: str
    error_code: str
    error: str


Kept = Message | SystemEvent | Unreadable | Missing | IdentityChanged | DeviceAdded | SendFailed


class Connected(Event, frozen=True, kw_only=True, omit_defaults=True, tag="connected"):
    """The device is connected."""


class CaughtUp(Event, frozen=True, kw_only=True, omit_defaults=True, tag="caught_up"):
    """Everything committed before this connection has arrived."""


class ConnectionLost(Event, frozen=True, kw_only=True, omit_defaults=True, tag="connection_lost"):
    """The connection is gone; the client tries again after `retry_in` seconds."""

    retry_in: float


class Receipt(Event, frozen=True, kw_only=True, omit_defaults=True, tag="receipt"):
    """A device received a message of ours, or its owner read up to it."""

    message_id: str
    conversation_id: str
    seq: int
    user_id: str
    device_id: str | None = None
    delivered_at: datetime | None = None
    read_at: datetime | None = None


class Typing(Event, frozen=True, kw_only=True, omit_defaults=True, tag="typing"):
    """Someone is typing, or stopped."""

    conversation_id: str
    user_id: str
    active: bool


class CallSignal(Event, frozen=True, kw_only=True, omit_defaults=True, tag="call"):
    """What another device has to say about a call. The body is theirs."""

    conversation_id: str
    sender_user_id: str
    sender_device_id: str
    signal: str
    body: bytes


class Person(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether somebody is there, and when they last were."""

    user_id: str
    online: bool
    last_seen_at: datetime | None = None


class Presence(Event, frozen=True, kw_only=True, omit_defaults=True, tag="presence"):
    """Somebody who is watched came or went."""

    users: tuple[Person, ...]


class DevicesChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="devices_changed"):
    """The devices of someone we share a conversation with changed."""

    user_id: str
    device_id: str | None = None
    reason: str | None = None


class Degraded(Event, frozen=True, kw_only=True, omit_defaults=True, tag="degraded"):
    """Stores of the server that are not well; none: all are well again."""

    stores: tuple[str, ...] = ()


Live = Connected | CaughtUp | ConnectionLost | Receipt | Typing | CallSignal | Presence | DevicesChanged | Degraded


def encode(event: Kept) -> bytes:
    return msgspec.json.encode(event)


def decode(stored: bytes) -> Kept:
    event: Kept = msgspec.json.decode(stored, type=Kept)
    return event
