"""What the SQL store prunes: step after step, each in small pieces.

Rows of mailboxes go when their end has passed, acknowledged or not. An acknowledged one stays until then: it is what keeps a deposit that comes
late, from a process that was stopped for days, from bringing the message back. A deposit that comes later still makes a row that nobody reads.
History rows stay; the content of those that have expired goes.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, LiteralString, NamedTuple

from accounts.chores import block_range, deletion_by_blocks
from messaging.store.protocol import DAY_MS

# After this long nothing is left that a cursor could spare its mailbox: as in Cassandra.
CURSOR_MS = 90 * DAY_MS
# Rows that have ended are not read any more; the clock that says so may be set back a little.
MARGIN_MS = 3600 * 1000

_PAGE = Struct("!Bq")

MAILBOXES = deletion_by_blocks("message_mailbox", "r.ends_ms < %s")
CURSORS = deletion_by_blocks("mailbox_cursor", "r.moved_ms < %s")
# A row that a deposit holds is left for the next round.
EXPIRED: LiteralString = """
WITH due AS (
  SELECT conversation_id, seq FROM message_history WHERE expires_ms < %s AND expires_ms IS NOT NULL AND content IS NOT NULL
  ORDER BY expires_ms LIMIT %s FOR UPDATE SKIP LOCKED
), emptied AS (
  UPDATE message_history h SET content = NULL FROM due WHERE h.conversation_id = due.conversation_id AND h.seq = due.seq RETURNING 1
)
SELECT (SELECT count(*) FROM emptied), (SELECT count(*) FROM due)
"""


class Step(NamedTuple):
    """A statement and its values for a place of this size; `next_place` from the two numbers it answers, None when there is no more."""

    statement: LiteralString
    values: Callable[[int, int, int], tuple[Any, ...]]
    next_place: Callable[[int, int, int, int], int | None]


def _next_block(first: int, size: int, removed: int, blocks: int) -> int | None:
    del removed
    return first + size if first + size < blocks else None


def _again_if_full(first: int, size: int, removed: int, found: int) -> int | None:
    del removed
    return first if found == size else None


STEPS = (
    Step(MAILBOXES, lambda now_ms, first, size: (*block_range(first, size), now_ms - MARGIN_MS), _next_block),
    Step(EXPIRED, lambda now_ms, _, size: (now_ms, size), _again_if_full),
    Step(CURSORS, lambda now_ms, first, size: (*block_range(first, size), now_ms - CURSOR_MS), _next_block),
)


def place_of(page: bytes | None) -> tuple[int, int]:
    """The number of the step and the place in it."""
    return _PAGE.unpack(page) if page else (0, 0)


def page_of(step: int, place: int | None) -> bytes | None:
    """The page that goes on there: at the next step where this one has no more, None after the last."""
    if place is not None:
        return _PAGE.pack(step, place)
    return _PAGE.pack(step + 1, 0) if step + 1 < len(STEPS) else None
