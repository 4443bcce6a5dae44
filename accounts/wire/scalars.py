"""The scalar types of the protocol. Nothing is converted: "5" is not 5, and a UUID in capitals is no UUID.

Requests are made of the strict types (`Uuid`, `Dec`, `Base64`, `Name` …), answers of the `…Out` types, which turn server values into wire
text. Control over whole documents (NUL, depth, duplicate keys) is in `json_text`.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

GREATEST_DEC = 2**63 - 1
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DEC = re.compile(r"[1-9][0-9]{0,18}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
# Embedding, isolating and marking controls: they turn the text around a name into something else.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Nothing is seen of these: two names would look alike. The joiners of emoji and of Persian are not among them.
_INVISIBLE = frozenset("\u00ad\u180e\u200b\u2060\ufeff")
# Control characters, and the two separators that end a line.
_CONTROLS = frozenset({"Cc", "Zl", "Zp"})


def parse_uuid(value: object) -> UUID:
    """A UUID in its lower-case text form. Raises a validation error for anything else."""
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value)
    raise _refused(kind="uuid", sentence="must be a UUID in lower case")


def parse_dec(value: object) -> int:
    """A decimal string from 1 to 2^63-1."""
    if isinstance(value, str) and _DEC.fullmatch(value) and int(value) <= GREATEST_DEC:
        return int(value)
    raise _refused(kind="dec", sentence="must be a decimal string from 1 to 2^63-1")


def parse_base64(value: object) -> bytes:
    """Standard base64 with its padding, in the one form an encoder writes."""
    if isinstance(value, str) and value.isascii():
        try:
            decoded = base64.b64decode(value, validate=True)
        except binascii.Error:
            decoded = b""
        if base64.b64encode(decoded).decode() == value:
            return decoded
    raise _refused(kind="base64", sentence="must be standard base64 with padding")


def parse_time(value: object) -> datetime:
    """An RFC 3339 time in UTC, ending in Z."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise _refused(kind="time", sentence="must be an RFC 3339 time in UTC, ending in Z")


def write_time(value: datetime) -> str:
    """The time in UTC with milliseconds: 2025-11-21T10:15:02.123Z."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_day(value: date) -> str:
    """The day as a time: its first moment."""
    return f"{value.isoformat()}T00:00:00.000Z"


def write_base64(value: bytes | memoryview) -> str:
    """Standard base64."""
    return base64.b64encode(value).decode()


def exactly(size: int) -> BeforeValidator:
    """Base64 text of exactly `size` bytes."""

    def parse(value: object) -> bytes:
        decoded = parse_base64(value)
        if len(decoded) != size:
            raise _refused(kind="base64", sentence=f"must be base64 of {size} bytes")
        return decoded

    return BeforeValidator(parse)


# Composing takes time with the square of the length, and holds up the process: what may be long is not composed at all.
LONGEST_COMPOSED = 2000


def shown_text(value: object) -> object:
    """Text that others see beside their own, in normal form C: not blank, no control characters, nothing that reverses what stands around it."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise _refused(kind="text", sentence="must not be blank")
    return _composed(value, value)


def shown_lines(value: object) -> object:
    """The same with line ends (U+000A) in it, and possibly empty."""
    return _composed(value, value.replace("\n", "")) if isinstance(value, str) else value


def _composed(value: str, judged: str) -> str:
    if len(value) > LONGEST_COMPOSED:
        raise _refused(kind="text", sentence="is too long")
    if any(char in _BIDI_CONTROLS or char in _INVISIBLE or unicodedata.category(char) in _CONTROLS for char in judged):
        raise _refused(kind="text", sentence="must not contain control characters")
    return unicodedata.normalize("NFC", value)


def _refused(kind: str, sentence: str) -> PydanticCustomError:
    return PydanticCustomError(kind, sentence)


def _schema(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


def text(least: int, most: int, pattern: str | None = None) -> StringConstraints:
    """From `least` to `most` characters (not bytes)."""
    return StringConstraints(strict=True, min_length=least, max_length=most, pattern=pattern)


_UUID_SCHEMA = _schema(type="string", format="uuid")
_DEC_SCHEMA = _schema(type="string", pattern="^[1-9][0-9]{0,18}$")
_BYTES_SCHEMA = _schema(type="string", contentEncoding="base64")
_TIME_SCHEMA = _schema(type="string", format="date-time")

Uuid = Annotated[UUID, BeforeValidator(parse_uuid), _UUID_SCHEMA]
Dec = Annotated[int, BeforeValidator(parse_dec), _DEC_SCHEMA]
Base64 = Annotated[bytes, BeforeValidator(parse_base64), _BYTES_SCHEMA]
Base64Of32 = Annotated[bytes, exactly(32), _BYTES_SCHEMA]
Time = Annotated[datetime, BeforeValidator(parse_time), _TIME_SCHEMA]
Name = Annotated[str, text(1, 100), BeforeValidator(shown_text)]


def _out(write: Callable[[Any], str]) -> PlainSerializer:
    return PlainSerializer(write, return_type=str)


UuidOut = Annotated[UUID, _out(str), _UUID_SCHEMA]
DecOut = Annotated[int, _out(str), _DEC_SCHEMA]
Base64Out = Annotated[bytes, _out(write_base64), _BYTES_SCHEMA]
DayOut = Annotated[date, _out(write_day), _TIME_SCHEMA]
TimeOut = Annotated[datetime, _out(write_time), _TIME_SCHEMA]
