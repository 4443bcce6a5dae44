"""Writes that travel together: rows of one partition in one unlogged batch, because a request costs this process more than the rows in it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from cassandra.query import BatchStatement, BatchType, BoundStatement

BATCH_ROWS, BATCH_BYTES = 100, 256 * 1024
# A batch over several partitions is small enough that no server warns of it with its default settings.
ACROSS_PARTITIONS, ACROSS_BYTES = 10, 4 * 1024


class Row(NamedTuple):
    """A write to one row, and about how many bytes it is."""

    statement: BoundStatement
    weight: int


# By partition: whose it is, and its bucket.
Rows = Mapping[tuple[UUID, int], list[Row]]


def no_rows() -> defaultdict[tuple[UUID, int], list[Row]]:
    """Where rows are put into their partitions."""
    return defaultdict(list)


def batches(partitions: Rows, *, across: bool) -> Iterator[BoundStatement | BatchStatement]:
    """Everything to write: rows of one partition together and, where it costs no node a detour, small ones of several (`across`)."""
    pile, weight, count = list[Row](), 0, 0
    for rows in partitions.values():
        for some in _chunks(rows):
            more = sum(row.weight for row in some)
            if not across or more > ACROSS_BYTES:
                yield _together(some)
                continue
            if pile and (count == ACROSS_PARTITIONS or weight + more > ACROSS_BYTES):
                yield _together(pile)
                pile, weight, count = [], 0, 0
            pile, weight, count = pile + some, weight + more, count + 1
    if pile:
        yield _together(pile)


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    some, weight = list[Row](), 0
    for row in rows:
        if some and (len(some) == BATCH_ROWS or weight + row.weight > BATCH_BYTES):
            yield some
            some, weight = [], 0
        some.append(row)
        weight += row.weight
    yield some


def _together(rows: Sequence[Row]) -> BoundStatement | BatchStatement:
    if len(rows) == 1:
        return rows[0].statement
    batch = BatchStatement(BatchType.UNLOGGED)
    batch.is_idempotent = True
    for row in rows:
        batch.add(row.statement)
    return batch
