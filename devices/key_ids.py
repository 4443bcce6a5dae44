"""The numbers of one-time prekeys: they rise, and those of libsignal's clients begin anywhere and count round after the last.

So a number has a place on a line: how often the device has gone round, times 2^24, and the number itself. `highest` is the highest place a device has
uploaded of a kind, -1 when it has uploaded none. Of two places that a number may mean the near one is taken, in the manner of serial numbers
(RFC 1982).
"""

from collections.abc import Collection

ROUND = 2**24

# More keys than any client makes and does not upload.
NEAR = 2**16

# What the column holds. Nobody comes so far by counting; who leaps there stays in this round.
LAST_PLACE = 2**31 - 1


def place(key_id: int, highest: int) -> int:
    """Where the number stands when `highest` has been reached."""
    start = max(highest, 0) // ROUND * ROUND
    here, after = start + key_id, start + ROUND + key_id
    if here > highest:
        before = here - ROUND
        return before if start and highest - before <= NEAR else here
    return after if after - highest <= NEAR and after <= LAST_PLACE else here


def is_behind(key_id: int, highest: int) -> bool:
    """Whether the number was passed already: a key that has it may have been handed out."""
    return highest >= 0 and place(key_id, highest) <= highest


def newest(key_ids: Collection[int], highest: int) -> int:
    """The highest place of all when these are uploaded."""
    if highest < 0 and key_ids and max(key_ids) - min(key_ids) > ROUND - NEAR:
        # The first ones, on both sides of the end.
        return ROUND + max(key_id for key_id in key_ids if key_id < NEAR)
    return max([highest, *(place(key_id, highest) for key_id in key_ids)])


def rise(key_ids: Collection[int], highest: int) -> int:
    """By how much these raise the highest place. Nothing, where they are the first."""
    return newest(key_ids, highest) - highest if highest >= 0 else 0
