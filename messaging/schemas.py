"""Messages on the wire of HTTP: the same fields as on the socket."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from accounts.wire.paging import DEFAULT, Limit
from accounts.wire.requests import Fields
from accounts.wire.scalars import Base64, Dec, Uuid
from conversations.sends import Addressed, Send, Sender, Sent
from messaging import frames
from messaging.envelopes import Envelope
from messaging.frames import LARGEST_ID, LARGEST_REGISTRATION_ID, LONGEST_EXPIRY, MOST_ADDRESSED
from messaging.history import HistoryPage
from messaging.resolving import Resolved

_NO_SEQ = PydanticCustomError("seq", "must be a number of at most 2^63-1")


def _parse_seq(value: object) -> int:
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdecimal()
        and len(value) <= 19
        and int(value) <= LARGEST_ID
    ):
        return int(value)
    raise _NO_SEQ


Seq = Annotated[int, BeforeValidator(_parse_seq), WithJsonSchema({"type": "integer", "minimum": 0})]


class HistoryQuery(BaseModel):
    """`before` and `after` are seqs, exclusive."""

    before: Seq | None = None
    after: Seq | None = None
    limit: Limit = DEFAULT


class ResolveQuery(BaseModel):
    """Seqs, inclusive."""

    first: Seq = Field(alias="from")
    last: Seq = Field(alias="to")


class AddressedIn(Fields):
    """One device, and what is encrypted for it."""

    device_id: Dec
    registration_id: Annotated[int, Field(ge=1, le=LARGEST_REGISTRATION_ID)]
    ciphertext: Base64 | None = None


class SendIn(Fields):
    """A message. With `after_client_message_id` it is refused unless that one is committed."""

    client_message_id: Uuid
    kind: Literal["message", "key_distribution"]
    messages: Annotated[list[AddressedIn], Field(max_length=MOST_ADDRESSED)]
    shared: Base64 | None = None
    reply_to: Dec | None = None
    deletes: Dec | None = None
    expires_in: Annotated[int, Field(ge=1, le=LONGEST_EXPIRY)] | None = None
    urgent: bool = True
    after_client_message_id: Uuid | None = None

    def send(self, sender: Sender, conversation_id: UUID) -> Send:
        """The same without the wire."""
        return Send(
            conversation_id=conversation_id,
            sender=sender,
            client_message_id=self.client_message_id,
            kind=self.kind,
            messages=tuple(Addressed(item.device_id, item.registration_id, item.ciphertext) for item in self.messages),
            shared=self.shared,
            reply_to=self.reply_to,
            deletes=self.deletes,
            expires_in=self.expires_in,
            urgent=self.urgent,
        )


class SentOut(BaseModel):
    """A committed message and its place."""

    conversation_id: str
    client_message_id: str
    message_id: str
    seq: int
    sent_at: str
    duplicate: bool


class EnvelopeOut(BaseModel):
    """One message as one device sees it. Without `ciphertext` and `shared`: nothing for this device, or emptied by its ack."""

    message_id: str
    conversation_id: str
    seq: int
    client_message_id: str
    kind: str
    sent_at: str
    start: bool | None = None
    sender_user_id: str | None = None
    sender_device_id: str | None = None
    sender_device_number: int | None = None
    ciphertext: str | None = None
    shared: str | None = None
    system: dict[str, Any] | None = None
    reply_to: str | None = None
    deletes: str | None = None
    expires_at: str | None = None
    urgent: bool | None = None
    deleted: bool | None = None


class MissingOut(BaseModel):
    """Seqs that cannot be read at the moment."""

    from_seq: int
    to_seq: int


class HistoryOut(BaseModel):
    """A page, newest first. `next_cursor` is the next `before`, or `after` where only that was given."""

    items: list[EnvelopeOut]
    next_cursor: str | None = None
    has_more: bool
    sources_missing: list[MissingOut] | None = None


class ResolvedOut(BaseModel):
    """What has become of one seq."""

    seq: int
    state: Literal["committed", "not_for_you", "unavailable"]
    envelope: EnvelopeOut | None = None


class ResolutionOut(BaseModel):
    """What has become of each seq up to the head."""

    items: list[ResolvedOut]


def show_sent(send: Send, sent: Sent) -> SentOut:
    """The fields of the socket's `sent`."""
    return SentOut.model_validate(msgspec.to_builtins(frames.sent_frame(send, sent, None)))


def show_history(page: HistoryPage) -> HistoryOut:
    """The page, with its cursor as text."""
    missing = [MissingOut(from_seq=span.first, to_seq=span.last) for span in page.missing]
    return HistoryOut(
        items=[show_envelope(envelope) for envelope in page.envelopes],
        next_cursor=None if page.next_seq is None else str(page.next_seq),
        has_more=page.next_seq is not None,
        sources_missing=missing or None,
    )


def show_resolved(resolved: Resolved) -> ResolvedOut:
    """The state, and the envelope where there is one."""
    envelope = show_envelope(resolved.envelope) if resolved.envelope else None
    return ResolvedOut(seq=resolved.seq, state=resolved.state.value, envelope=envelope)


def show_envelope(envelope: Envelope) -> EnvelopeOut:
    """The fields of the socket's `envelope`, bytes as base64."""
    return EnvelopeOut.model_validate(msgspec.to_builtins(frames.envelope_frame(envelope)))
