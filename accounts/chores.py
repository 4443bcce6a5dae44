"""Chores: clearing tables of what nobody asks for any more, a little at a time, so that nobody who waits for an answer notices.

A chunk is one short statement that commits by itself: no transaction stays open between chunks, whatever becomes of the process, because an open
one would hold back the watermark of all mailboxes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, LiteralString, NamedTuple

from accounts import statements
from accounts.wire.refusals import StorageUnavailable

# A chunk is made as large as fits into this time; then the database rests for so many times as long as it worked.
CHUNK_SECONDS = 0.02
REST = 4
SHORTEST_REST_SECONDS = 0.02
# A chunk that took this long means that everybody waits: leave them alone for a while.
SLOW_SECONDS = 0.2
SLOW_REST_SECONDS = 3.0
MOST_FAILURES = 5


class Chunk(NamedTuple):
    """What one chunk removed, and behind what the next one begins; None: that was the last."""

    removed: int
    after: Any | None


class Chore(NamedTuple):
    """One table's part. `chunk(after, size)` looks at about `size` rows or blocks behind `after` (None: from the beginning)."""

    name: str
    chunk: Callable[[Any | None, int], Awaitable[Chunk]]
    size: int
    most: int


Keep = Callable[[], Awaitable[None]]


async def do(chore: Chore, keep: Keep) -> int:
    """How many rows were removed, from the beginning to the end. `keep` is awaited before each chunk and may raise to end the work.

    Raises StorageUnavailable when the database refuses several chunks in a row.
    """
    removed, after, size, failures = 0, None, chore.size, 0
    while True:
        await keep()
        began = time.monotonic()
        try:
            chunk = await chore.chunk(after, size)
        except StorageUnavailable:
            failures += 1
            if failures == MOST_FAILURES:
                raise
            size = max(1, size // 2)
            await asyncio.sleep(SLOW_REST_SECONDS)
            continue
        took, failures = time.monotonic() - began, 0
        removed += chunk.removed
        if chunk.after is None:
            return removed
        after, size = chunk.after, next_size(size, took, most=chore.most)
        await asyncio.sleep(rest(took))


def next_size(size: int, took: float, *, most: int) -> int:
    """The size of the next chunk, after one of this size took so many seconds: towards CHUNK_SECONDS, at most doubled."""
    if took > SLOW_SECONDS:
        return max(1, size // 4)
    return max(1, min(most, 2 * size, round(size * CHUNK_SECONDS / max(took, 0.001))))


def rest(took: float) -> float:
    """Seconds until the next chunk."""
    return SLOW_REST_SECONDS if took > SLOW_SECONDS else max(SHORTEST_REST_SECONDS, REST * took)


def deletion_by_blocks(table: LiteralString, condition: LiteralString) -> LiteralString:
    """A statement that removes the rows `r` of some of a table's blocks that meet the condition; answers how many, and how many blocks there are.

    A table is walked as it lies on the disk where no index leads to what is old: each chunk reads so many blocks and no others. Parameters: the
    two ends of `block_range`, then those of the condition.
    """
    return f"""
        WITH gone AS (DELETE FROM {table} r WHERE r.ctid >= %s::tid AND r.ctid < %s::tid AND ({condition}) RETURNING 1)
        SELECT (SELECT count(*) FROM gone), pg_relation_size('{table}') / current_setting('block_size')::bigint
        """  # noqa: S608  (constants)


def block_range(first: int, count: int) -> tuple[str, str]:
    """The ends of these blocks as row addresses, the second exclusive."""
    return f"({first},0)", f"({first + count},0)"


def by_blocks(name: str, table: LiteralString, condition: LiteralString, *, size: int = 16, most: int = 256) -> Chore:
    """The chore of removing what meets the condition from a table of the alias `default`."""
    statement = deletion_by_blocks(table, condition)

    async def chunk(after: int | None, size: int) -> Chunk:
        first = after or 0
        [[removed, blocks]] = await statements.rows(statement, block_range(first, size))
        return Chunk(removed, first + size if first + size < blocks else None)

    return Chore(name, chunk, size, most)


# Web admin logins; those of devices are `devices.pruning`'s.
SESSIONS = by_blocks("web sessions", "django_session", "r.expire_date < clock_timestamp()")
