"""The frozen values the client takes and gives. Fields are named as on the wire."""

from datetime import datetime
from typing import Any

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A value of the wire. Unknown fields are ignored; a missing one and null are the same."""


class User(Value, frozen=True, kw_only=True):
    user_id: str
    username: str | None = None
    display_name: str | None = None
    bio: str | None = None
    avatar: str | None = None

    @property
    def name(self) -> str:
        """What to call them: the display name, else the user name, else the start of the id."""
        return self.display_name or self.username or self.user_id[:8]


class Member(Value, frozen=True, kw_only=True):
    user_id: str
    username: str | None = None
    display_name: str | None = None
    role: str = "member"
    joined_at: datetime | None = None
    joined_seq: int | None = None
    last_read_seq: int | None = None

    @property
    def name(self) -> str:
        return self.display_name or self.username or self.user_id[:8]


class Conversation(Value, frozen=True, kw_only=True):
    conversation_id: str
    kind: str
    name: str | None = None
    member_count: int = 0
    peer: User | None = None
    role: str = "member"
    last_seq: int = 0
    last_activity_at: datetime | None = None
    last_read_seq: int = 0
    unread_count: int = 0
    created_at: datetime | None = None
    members: tuple[Member, ...] | None = None

    @property
    def title(self) -> str:
        """The name of a group, or of the other person in a direct conversation."""
        if self.name:
            return self.name
        if self.kind == "direct":
            return self.peer.name if self.peer else "a deleted account"
        return f"group {self.conversation_id[:8]}"


class LinkedBy(Value, frozen=True, kw_only=True):
    device_id: str
    identity_key: bytes
    signature: bytes


class Device(Value, frozen=True, kw_only=True):
    device_id: str
    name: str
    platform: str
    device_uuid: str | None = None
    device_number: int | None = None
    is_primary: bool = False
    is_current: bool = False
    registration_id: int | None = None
    identity_key: bytes = b""
    linked_by: LinkedBy | None = None
    created_at: datetime | None = None
    last_seen_at: str | None = None


class Prekey(Value, frozen=True, kw_only=True):
    key_id: int
    public_key: bytes


class SignedPrekey(Value, frozen=True, kw_only=True):
    key_id: int
    public_key: bytes
    signature: bytes


class KeyCount(Value, frozen=True, kw_only=True):
    """One-time prekeys that are left at the server."""

    count: int
    pq_count: int = 0


class Comparison(Value, frozen=True, kw_only=True):
    """Whether the server has the keys the client believes it has: "same" or "differs"."""

    result: str


class Deleted(Value, frozen=True, kw_only=True):
    """An account that is no more, and until when the server remembers that."""

    deleted_at: datetime
    tombstone_until: datetime


class Bundle(Value, frozen=True, kw_only=True):
    """What is needed to write to a device for the first time. The pool of one-time prekeys may be empty."""

    device_id: str
    registration_id: int
    identity_key: bytes
    signed_prekey: SignedPrekey
    is_primary: bool = False
    device_uuid: str | None = None
    linked_by: LinkedBy | None = None
    one_time_prekey: Prekey | None = None
    last_resort_prekey: SignedPrekey | None = None


class Bundles(Value, frozen=True, kw_only=True):
    user_id: str
    devices: tuple[Bundle, ...] = ()


class Tokens(Value, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str
    access_expires_in_seconds: int = 600


class Registration(Tokens, frozen=True, kw_only=True):
    user_id: str
    device_id: str
    is_primary: bool = False


class Envelope(Value, frozen=True, kw_only=True):
    """A message as it travels and as the server keeps it; its text is in the ciphertext alone."""

    message_id: str
    conversation_id: str
    seq: int
    kind: str
    client_message_id: str | None = None
    start: bool | None = None
    sender_user_id: str | None = None
    sender_device_id: str | None = None
    ciphertext: bytes | None = None
    shared: bytes | None = None
    system: dict[str, Any] | None = None
    reply_to: str | None = None
    deleted: bool | None = None
    sent_at: datetime | None = None


class Sent(Value, frozen=True, kw_only=True):
    """The server's word that a message is accepted, and its place in the conversation."""

    conversation_id: str
    client_message_id: str
    message_id: str
    seq: int
    sent_at: datetime
    duplicate: bool = False


class Resolved(Value, frozen=True, kw_only=True):
    seq: int
    state: str
    envelope: Envelope | None = None


class Page(Value, frozen=True, kw_only=True):
    """One page of a conversation as the server keeps it."""

    items: tuple[Envelope, ...]
    next_cursor: str | int | None = None
    has_more: bool = False
    sources_missing: tuple[dict[str, int], ...] | None = None


class Ready(Value, frozen=True, kw_only=True):
    user_id: str
    device_id: str
    server_time: datetime
