"""What clients say."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LARGEST_CIPHERTEXT = 64 * 1024
LARGEST_ID = 2**63 - 1
LARGEST_REGISTRATION_ID = 16383
# Six devices each of 256 members.
MOST_ADDRESSED = 1536
LONGEST_EXPIRY = 10 * 365 * 86400

Ref = Annotated[str, Meta(max_length=64)] | None
WireUuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")]
Dec = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,18}\Z")]
Seq = Annotated[int, Meta(ge=0, le=LARGEST_ID)]
Access = Annotated[str, Meta(max_length=4096)]


class ClientFrame(msgspec.Struct, frozen=True, tag_field="type"):
    """What a client says. Unknown fields are ignored; null is the same as left out."""


class AuthenticateFrame(ClientFrame, frozen=True, tag="authenticate"):
    access_token: Access
    ref: Ref = None


class AddressedFields(msgspec.Struct, frozen=True):
    device_id: Dec
    registration_id: Annotated[int, Meta(ge=1, le=LARGEST_REGISTRATION_ID)]
    ciphertext: bytes | None = None


class SendFrame(ClientFrame, frozen=True, tag="send", kw_only=True):
    conversation_id: WireUuid
    client_message_id: WireUuid
    kind: Literal["message", "key_distribution"]
    messages: Annotated[list[AddressedFields], Meta(max_length=MOST_ADDRESSED)]
    shared: bytes | None = None
    reply_to: Dec | None = None
    deletes: Dec | None = None
    expires_in: Annotated[int, Meta(ge=1, le=LONGEST_EXPIRY)] | None = None
    urgent: bool | None = None
    ref: Ref = None


class AckFrame(ClientFrame, frozen=True, tag="ack"):
    message_ids: Annotated[list[Dec], Meta(min_length=1, max_length=500)]
    ref: Ref = None


class ReadFrame(ClientFrame, frozen=True, tag="read"):
    conversation_id: WireUuid
    seq: Annotated[int, Meta(ge=1, le=LARGEST_ID)]
    ref: Ref = None


class TypingFrame(ClientFrame, frozen=True, tag="typing"):
    conversation_id: WireUuid
    active: bool
    ref: Ref = None


class CallFrame(ClientFrame, frozen=True, tag="call", kw_only=True):
    conversation_id: WireUuid
    signal: Literal["offer", "answer", "candidate", "reject", "hangup"]
    body: bytes
    device_id: Dec | None = None
    ref: Ref = None


class PresenceFrame(ClientFrame, frozen=True, tag="presence"):
    user_ids: Annotated[list[WireUuid], Meta(max_length=100)]
    ref: Ref = None


class PingFrame(ClientFrame, frozen=True, tag="ping"):
    ref: Ref = None


AnyClientFrame = (
    AuthenticateFrame | SendFrame | AckFrame | ReadFrame | TypingFrame | CallFrame | PresenceFrame | PingFrame
)
CLIENT_FRAMES: tuple[type[ClientFrame], ...] = (
    AuthenticateFrame,
    SendFrame,
    AckFrame,
    ReadFrame,
    TypingFrame,
    CallFrame,
    PresenceFrame,
    PingFrame,
)
