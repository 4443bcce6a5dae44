"""The socket protocol: bytes <-> values. One definition serves JSON (text frames, base64) and MessagePack (binary frames, raw bytes)."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from accounts.wire.refusals import ChatError, InvalidRequest, RateLimited, StorageUnavailable
from conversations.sends import Addressed, Send, Sender, Sent
from messaging.condition import Store
from messaging.envelopes import DevicesChanged, Envelope, Notice, PrekeysLow, Receipt

JSON = "waypost.v1.json"
MSGPACK = "waypost.v1.msgpack"
SUBPROTOCOLS = (JSON, MSGPACK)

LARGEST_CIPHERTEXT = 64 * 1024
LARGEST_ID = 2**63 - 1
LARGEST_REGISTRATION_ID = 16383
# Six devices each of 256 members.
MOST_ADDRESSED = 1536
LONGEST_EXPIRY = 10 * 365 * 86400
RETRY_MS = 1000

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


class PingFrame(ClientFrame, frozen=True, tag="ping"):
    ref: Ref = None


AnyClientFrame = AuthenticateFrame | SendFrame | AckFrame | ReadFrame | PingFrame
CLIENT_FRAMES: tuple[type[ClientFrame], ...] = (AuthenticateFrame, SendFrame, AckFrame, ReadFrame, PingFrame)


class _AnyFrame(msgspec.Struct):
    """The least a frame must be: a map with a type."""

    type: str
    ref: Any = None


class NotAFrame(Exception):
    """These bytes are no map with a string `type`."""


class BadFrame(Exception):
    """A frame, but not a good one: `refusal` says why, `ref` is its ref where it has one."""

    def __init__(self, refusal: ChatError, ref: str | None) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal
        self.ref = ref


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
    DevicesChangedFrame,
    PrekeysLowFrame,
    DegradedFrame,
    PongFrame,
)


class Codec:
    """One subprotocol. `encode` gives the bytes of a frame; a JSON socket sends them as text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_text = name == JSON
        module: Any = msgspec.json if self.is_text else msgspec.msgpack
        self._encoder = module.Encoder()
        self._frames = module.Decoder(AnyClientFrame)
        self._any = module.Decoder(_AnyFrame)

    def parse(self, data: bytes | str) -> AnyClientFrame:
        """The frame in these bytes. Raises NotAFrame or BadFrame."""
        try:
            frame: AnyClientFrame = self._frames.decode(data)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
            raise self._explain(data, failure) from failure
        if frame.ref is not None and not is_plain(frame.ref):
            raise BadFrame(InvalidRequest(field="ref"), None)
        return frame

    def _explain(self, data: bytes | str, failure: Exception) -> NotAFrame | BadFrame:
        try:
            least = self._any.decode(data)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return NotAFrame()
        ref = least.ref if isinstance(least.ref, str) and len(least.ref) <= 64 and is_plain(least.ref) else None
        return BadFrame(InvalidRequest(**field_of(failure)), ref)

    def encode(self, frame: ServerFrame | dict[str, Any]) -> bytes:
        """The frame's bytes."""
        return self._encoder.encode(frame)  # type: ignore[no-any-return]


CODECS = {name: Codec(name) for name in SUBPROTOCOLS}
_PATH = re.compile(r"`\$\.?(?P<path>[^`]*)`$")


def field_of(failure: Exception) -> dict[str, Any]:
    """The dotted path msgspec names in its message, as the fact `field`; nothing where it names none."""
    found = _PATH.search(str(failure))
    path = found["path"].replace("[...]", "").replace("[", ".").replace("]", "").strip(".") if found else ""
    return {"field": path} if path else {}


def is_plain(text: str) -> bool:
    """Whether text may be stored and repeated: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def wire_time(ms: int) -> str:
    """Milliseconds since 1970 as the protocol's time."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def dec(value: int) -> str | None:
    """An id as the protocol writes it; None for none."""
    return str(value) if value else None


def to_send(frame: SendFrame, sender: Sender) -> Send:
    """The send a frame asks for. Raises InvalidRequest for an id out of range."""
    return Send(
        conversation_id=UUID(frame.conversation_id),
        sender=sender,
        client_message_id=UUID(frame.client_message_id),
        kind=frame.kind,
        messages=tuple(
            Addressed(identifier(item.device_id, "messages"), item.registration_id, item.ciphertext)
            for item in frame.messages
        ),
        shared=frame.shared,
        reply_to=None if frame.reply_to is None else identifier(frame.reply_to, "reply_to"),
        deletes=None if frame.deletes is None else identifier(frame.deletes, "deletes"),
        expires_in=frame.expires_in,
        urgent=frame.urgent is not False,
    )


def identifier(text: str, field: str) -> int:
    """The number a decimal string stands for. Raises InvalidRequest above 2^63 - 1."""
    value = int(text)
    if value > LARGEST_ID:
        raise InvalidRequest(field=field)
    return value


def sent_frame(send: Send, sent: Sent, ref: str | None) -> SentFrame:
    """The answer to a committed send."""
    return SentFrame(
        ref=ref,
        conversation_id=send.conversation_id,
        client_message_id=send.client_message_id,
        message_id=str(sent.message_id),
        seq=sent.seq,
        sent_at=wire_time(sent.sent_ms),
        duplicate=sent.duplicate,
    )


def envelope_frame(envelope: Envelope) -> EnvelopeFrame:
    """The envelope as the device gets it."""
    return EnvelopeFrame(
        message_id=str(envelope.message_id),
        conversation_id=envelope.conversation_id,
        seq=envelope.seq,
        client_message_id=envelope.client_message_id,
        kind=envelope.kind,
        sent_at=wire_time(envelope.kept_ms),
        start=envelope.start,
        sender_user_id=envelope.sender_user_id,
        sender_device_id=dec(envelope.sender_device_id),
        sender_device_number=envelope.sender_device_number,
        ciphertext=envelope.ciphertext,
        shared=envelope.shared,
        system=envelope.system,
        reply_to=dec(envelope.reply_to or 0),
        deletes=dec(envelope.deletes or 0),
        expires_at=None if envelope.expires_ms is None else wire_time(envelope.expires_ms),
        urgent=envelope.urgent,
        deleted=envelope.deleted,
    )


def notice_frame(notice: Notice) -> ServerFrame:
    """A notice as the device gets it."""
    match notice:
        case Receipt():
            return ReceiptFrame(
                message_id=str(notice.message_id),
                conversation_id=notice.conversation_id,
                seq=notice.seq,
                user_id=notice.user_id,
                device_id=str(notice.device_id),
                delivered_at=None if notice.delivered_ms is None else wire_time(notice.delivered_ms),
                read_at=None if notice.read_ms is None else wire_time(notice.read_ms),
            )
        case DevicesChanged():
            return DevicesChangedFrame(
                user_id=notice.user_id, device_id=dec(notice.device_id or 0), reason=notice.reason
            )
        case PrekeysLow():
            return PrekeysLowFrame(count=notice.count, pq_count=notice.pq_count)


def error_frame(refusal: ChatError, ref: str | None = None) -> dict[str, Any]:
    """The refusal as a frame, with its facts beside the fixed fields."""
    frame: dict[str, Any] = {
        "type": "error",
        "error_code": refusal.code,
        "error": refusal.sentence,
        "retryable": refusal.retryable,
        **refusal.facts,
    }
    if ref is not None:
        frame["ref"] = ref
    if refusal.retry_after is not None or isinstance(refusal, RateLimited | StorageUnavailable):
        frame["retry_after_ms"] = RETRY_MS if refusal.retry_after is None else int(refusal.retry_after * 1000)
    return frame
