"""How much of a mailbox Cassandra is asked for at once.

A node gives up a read that passes over too many expired cells (`tombstone_failure_threshold`, 100,000): those of messages that expire lie in a mailbox for
three hours afterwards (`gc_grace_seconds`), and anybody can send such. Then fewer positions are asked for at a time, and more again where that goes well.
"""

from struct import Struct
from typing import NamedTuple

HIGHEST_POSITION = 2**63 - 1
WHOLE = 63
# A sixteenth.
NARROWING = 4

_PACKED = Struct(">iqqb")


class Slice(NamedTuple):
    """Positions of one bucket, 2**`width` of them above `after`, to be read from `page` on (None: from the beginning).

    `seen`: the position of the last row that was read; `after` while there is none.
    """

    bucket: int
    after: int
    seen: int
    width: int = WHOLE
    page: bytes | None = None

    @classmethod
    def whole(cls, bucket: int, after: int) -> "Slice":
        """All of the bucket above this position."""
        return cls(bucket, after, seen=after)

    @classmethod
    def of(cls, data: bytes) -> "Slice":
        """From the bytes that `packed` returned."""
        bucket, after, seen, width = _PACKED.unpack_from(data)
        return cls(bucket, after, seen, width, data[_PACKED.size :] or None)

    def packed(self) -> bytes:
        """As the bytes of a page's `next_page`."""
        return _PACKED.pack(self.bucket, self.after, self.seen, self.width) + (self.page or b"")

    @property
    def until(self) -> int:
        """Its last position."""
        return min(HIGHEST_POSITION, self.after + (1 << self.width))

    def following(self, *, last: int | None, next_page: bytes | None, low: int) -> "Slice":
        """What is to be read once a page of it was: one whose last row is at `last` (None: it had none).

        Behind it comes one twice as wide; behind the last of a bucket all of the next bucket above `low`.
        """
        if next_page is not None:
            return self._replace(seen=self.seen if last is None else last, page=next_page)
        if self.until < HIGHEST_POSITION:
            return Slice(self.bucket, self.until, self.until, min(WHOLE, self.width + 1))
        return Slice.whole(self.bucket + 1, low)

    def narrower(self) -> "Slice | None":
        """Less of the same, from the last row that was read, as its position may have others. None: it is a single position."""
        if self.width == 0:
            return None
        after = max(self.after, self.seen - 1)
        return Slice(self.bucket, after, after, max(0, self.width - NARROWING))
