"""Values <-> frames: what a frame asks for, and the frames that tell what happened."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from accounts.wire.refusals import ChatError, InvalidRequest, RateLimited, StorageUnavailable
from conversations.sends import Addressed, Send, Sender, Sent
from messaging.envelopes import Call, DevicesChanged, Envelope, Notice, PrekeysLow, Receipt, Typing
from messaging.frames.spoken import LARGEST_ID, SendFrame
from messaging.frames.told import (
    CallNoticeFrame,
    DevicesChangedFrame,
    EnvelopeFrame,
    PrekeysLowFrame,
    ReceiptFrame,
    SentFrame,
    ServerFrame,
    TypingNoticeFrame,
)

RETRY_MS = 1000


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
        case Typing():
            return TypingNoticeFrame(
                conversation_id=notice.conversation_id, user_id=notice.user_id, active=notice.active
            )
        case Call():
            return CallNoticeFrame(
                conversation_id=notice.conversation_id,
                sender_user_id=notice.sender_user_id,
                sender_device_id=str(notice.sender_device_id),
                signal=notice.signal,
                body=notice.body,
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
