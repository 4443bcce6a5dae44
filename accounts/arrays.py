"""PostgreSQL arrays in binary form, made in one go.

psycopg's own list dumper looks for the narrowest type of every list, so that one statement is prepared again for every mixture of small and
large numbers, and it visits each element through a dumper object. These arrays have a fixed type and cost a third.
The format is that of `array_send` in PostgreSQL: dimensions, a flag for nulls, the element's type; then length and bytes of each element.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Any
from uuid import UUID

from psycopg import BaseConnection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_NULL = b"\xff\xff\xff\xff"
_HEAD = Struct("!iiIii")
_LENGTH = Struct("!i").pack
_BIGINT = Struct("!iq").pack
_INT = Struct("!ii").pack
_BOOL = {True: b"\x00\x00\x00\x01\x01", False: b"\x00\x00\x00\x01\x00"}
_UUID_LENGTH = _LENGTH(16)


class _Array(bytes):
    """The binary form of an array."""


class Bigints(_Array):
    """bigint[]"""


class Ints(_Array):
    """integer[]"""


class Bools(_Array):
    """boolean[]"""


class Uuids(_Array):
    """uuid[]"""


class Texts(_Array):
    """text[]"""


class Byteas(_Array):
    """bytea[]"""


def bigints(items: Iterable[int | None]) -> Bigints:
    """bigint[] of these numbers."""
    return Bigints(_joined(20, [_NULL if item is None else _BIGINT(8, item) for item in items]))


def ints(items: Iterable[int | None]) -> Ints:
    """integer[] of these numbers."""
    return Ints(_joined(23, [_NULL if item is None else _INT(4, item) for item in items]))


def bools(items: Iterable[bool | None]) -> Bools:
    """boolean[] of these flags."""
    return Bools(_joined(16, [_NULL if item is None else _BOOL[item] for item in items]))


def uuids(items: Iterable[UUID | None]) -> Uuids:
    """uuid[] of these ids."""
    return Uuids(_joined(2950, [_NULL if item is None else _UUID_LENGTH + item.bytes for item in items]))


def texts(items: Iterable[str | None]) -> Texts:
    """text[] of these strings."""
    return Texts(_joined(25, [_sized(item if item is None else item.encode()) for item in items]))


def byteas(items: Iterable[bytes | None]) -> Byteas:
    """bytea[] of these bytes."""
    return Byteas(_joined(17, [_sized(item) for item in items]))


def _sized(item: bytes | None) -> bytes:
    return _NULL if item is None else _LENGTH(len(item)) + item


def _joined(element_oid: int, elements: list[bytes]) -> bytes:
    if not elements:
        return _HEAD.pack(0, 0, element_oid, 0, 0)[:12]
    return _HEAD.pack(1, int(_NULL in elements), element_oid, len(elements), 1) + b"".join(elements)


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> Buffer:
        return obj


_OIDS: dict[type[_Array], int] = {Bigints: 1016, Ints: 1007, Bools: 1000, Uuids: 2951, Texts: 1009, Byteas: 1001}
_DUMPERS = {cls: type(f"{cls.__name__}Dumper", (_ArrayDumper,), {"oid": oid}) for cls, oid in _OIDS.items()}


def register(connection: BaseConnection[Any]) -> None:
    """Let this connection take these arrays as parameters."""
    for cls, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(cls, dumper)
