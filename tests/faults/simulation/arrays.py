"""The service's binary arrays, read again: what `accounts.arrays` writes."""

from collections.abc import Callable
from struct import Struct
from typing import Any
from uuid import UUID

from accounts import arrays

_HEAD = Struct("!iiIii")
_LENGTH = Struct("!i")


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)


_ELEMENT: dict[type, Callable[[bytes], Any]] = {
    arrays.Bigints: _number,
    arrays.Ints: _number,
    arrays.Bools: lambda raw: raw == b"\x01",
    arrays.Uuids: lambda raw: UUID(bytes=raw),
    arrays.Texts: bytes.decode,
    arrays.Byteas: bytes,
}


def items(parameter: Any) -> list[Any]:
    """The elements of an array parameter; a list is one already."""
    element = _ELEMENT.get(type(parameter))
    if element is None:
        return list(parameter)
    found: list[Any] = []
    at = _HEAD.size
    while at < len(parameter):
        (length,) = _LENGTH.unpack_from(parameter, at)
        at += _LENGTH.size
        if length < 0:
            found.append(None)
        else:
            found.append(element(parameter[at : at + length]))
            at += length
    return found
