"""What stands where a ciphertext would: it names its message and the one device it is for, so that a mixed-up payload is seen."""

import hashlib
from typing import NamedTuple

SEPARATOR = b"|"
# Whom content is for that all recipients share.
EVERYBODY = ""
FIELDS = 7


class Payload(NamedTuple):
    """`digest` is that of the message, the same for every recipient; `addressed` the device this copy is for, "" for one that all share.

    Both "" for what is none of ours.
    """

    digest: str
    addressed: str


def digest_of(mark: str, sender: str, conversation: str, mid: str, number: int) -> str:
    """A message's digest; whoever has the fields can make it again."""
    return hashlib.sha256(f"{mark}|{sender}|{conversation}|{mid}|{number}".encode()).hexdigest()[:24]


def pack(mark: str, sender: str, conversation: str, mid: str, number: int, recipient: str, *, size: int) -> bytes:
    """One recipient device's copy, filled up to `size` bytes."""
    digest = digest_of(mark, sender, conversation, mid, number)
    head = "|".join((mark, sender, conversation, mid, str(number), digest, recipient)).encode() + SEPARATOR
    return head.ljust(size, b".")


def unpack(raw: bytes | None) -> Payload:
    """What a copy says of itself. The digest is made again from the other fields: a payload that was mended does not pass."""
    parts = (raw or b"").split(SEPARATOR)
    if len(parts) != FIELDS + 1:
        return Payload("", "")
    mark, sender, conversation, mid, number, digest, recipient = (part.decode(errors="replace") for part in parts[:-1])
    if not number.isdigit() or digest != digest_of(mark, sender, conversation, mid, int(number)):
        return Payload("", recipient)
    return Payload(digest, recipient)
