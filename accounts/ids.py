"""Identifiers that sort by the time they were made."""

import os
import uuid

from accounts import clocks

_TIME_BITS = 80


def uuid7(now_ms: int | None = None) -> uuid.UUID:
    """A UUID version 7 (RFC 9562, section 5.7) of now, or of `now_ms` milliseconds since 1970; the rest is random."""
    stamp = clocks.now_ms() if now_ms is None else now_ms
    value = (stamp << _TIME_BITS) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


def uuid7_ms(value: uuid.UUID) -> int | None:
    """The milliseconds since 1970 a UUIDv7 was made at; None for any other UUID."""
    if value.version != 7:
        return None
    return value.int >> _TIME_BITS
