"""What is inside a ciphertext: a small versioned JSON, padded so that its exact length does not show.

Where it belongs (conversation and client_message_id) is not repeated inside: it is authenticated with the ciphertext.
"""

from datetime import datetime

import msgspec

from .errors import TextTooLong

BLOCK = 64
END = b"\x80"
LONGEST = 60_000


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text", tag_field="type"):
    """A text, when its writer's client says it was written, and what it answers."""

    text: str
    sent_at: datetime | None = None
    reply_to: str | None = None
    v: int = 1


class BadPayload(Exception):
    """This is no payload this client knows."""


def pack(payload: Text) -> bytes:
    """TextTooLong above what a device's ciphertext may hold."""
    encoded = msgspec.json.encode(payload)
    if len(encoded) > LONGEST:
        raise TextTooLong
    padding = -(len(encoded) + 1) % BLOCK
    return encoded + END + bytes(padding)


def unpack(plaintext: bytes) -> Text:
    encoded, end, rest = plaintext.rpartition(END)
    if not end or rest.strip(b"\0"):
        raise BadPayload
    try:
        payload = msgspec.json.decode(encoded, type=Text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadPayload from None
    if payload.v != 1:
        raise BadPayload
    return payload
