"""The numbers of one-time prekeys: they rise, and those of libsignal's clients begin anywhere and count round after the last.

So which of two is above the other is told by their distance on a circle, as with serial numbers (RFC 1982), but only near enough: a number is never taken
for a risen one because somebody went half round. `highest` is the newest number a device has uploaded of a kind, -1 when it has uploaded none.
"""

from collections.abc import Collection

ROUND = 2**24

# More keys than any client makes and does not upload. Who comes from farther has not counted.
FARTHEST = 2**16


def is_behind(key_id: int, highest: int) -> bool:
    """Whether the number was passed already: a key that has it may have been handed out."""
    if highest < 0:
        return False
    ahead = _ahead(key_id, highest)
    if 0 < ahead <= FARTHEST:
        return False
    return key_id <= highest or ROUND - ahead <= FARTHEST


def is_far(key_id: int, highest: int) -> bool:
    """Whether the number is above, and farther than anybody comes by counting."""
    return highest >= 0 and not is_behind(key_id, highest) and _ahead(key_id, highest) > FARTHEST


def newest(key_ids: Collection[int], highest: int) -> int:
    """The newest number of all when these are uploaded."""
    risen = [key_id for key_id in key_ids if not is_behind(key_id, highest)]
    start = highest if highest >= 0 else _first(risen)
    return max(risen, key=lambda key_id: _ahead(key_id, start), default=highest)


def rise(key_ids: Collection[int], highest: int) -> int:
    """By how much these raise the highest number. Nothing, where they are the first."""
    return _ahead(newest(key_ids, highest), highest) if highest >= 0 else 0


def _first(key_ids: Collection[int]) -> int:
    """Where a client began to count that has uploaded these and no others: just before the end of the circle, where they lie on both sides of it."""
    last_ones = [key_id for key_id in key_ids if key_id >= ROUND - FARTHEST]
    is_around = bool(last_ones) and min(key_ids) < FARTHEST
    return min(last_ones if is_around else key_ids, default=0)


def _ahead(key_id: int, start: int) -> int:
    return (key_id - start) % ROUND
