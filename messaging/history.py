"""History: a conversation page by page, within the stays of the reader."""

from collections.abc import Iterable, Sequence

import msgspec

from accounts.wire.refusals import StorageUnavailable
from conversations.access import LogView, Span
from messaging.envelopes import Envelope
from messaging.reading import read
from messaging.store.protocol import MessageStore

BEYOND = 2**63 - 1


class HistoryPage(msgspec.Struct, frozen=True):
    """Newest first. `next_seq` is where the next page begins (exclusive), None where there is none; it never passes a missing seq."""

    envelopes: tuple[Envelope, ...] = ()
    next_seq: int | None = None
    missing: tuple[Span, ...] = ()


async def page(view: LogView, *, before: int | None, after: int | None, limit: int, store: MessageStore) -> HistoryPage:
    """The newest `limit` messages between `after` and `before`; with `after` alone, the oldest above it.

    Raises StorageUnavailable when there should be some and none can be read.
    """
    rising = after is not None and before is None
    between = list(view.spans((after or 0) + 1, (BEYOND if before is None else before) - 1))
    spans = _oldest(between, limit) if rising else _newest(between, limit)
    found = (await read(view, spans, store)).envelopes if spans else {}
    wanted = sorted(seq for span in spans for seq in range(span.first, span.last + 1))
    missing = [seq for seq in wanted if seq not in found]
    if missing and not found:
        raise StorageUnavailable
    is_last = _size(between) == len(wanted)
    return HistoryPage(
        envelopes=tuple(found[seq] for seq in reversed(wanted) if seq in found),
        next_seq=_next(wanted, missing, rising=rising, is_last=is_last),
        missing=tuple(_ranges(missing)),
    )


def _next(wanted: Sequence[int], missing: Sequence[int], *, rising: bool, is_last: bool) -> int | None:
    if missing:
        return missing[0] - 1 if rising else missing[-1] + 1
    if is_last:
        return None
    return wanted[-1] if rising else wanted[0]


def _oldest(spans: Iterable[Span], limit: int) -> list[Span]:
    """The first `limit` seqs of these spans."""
    chosen = []
    for span in spans:
        if limit:
            chosen.append(Span(span.first, min(span.last, span.first + limit - 1)))
            limit -= _size(chosen[-1:])
    return chosen


def _newest(spans: Sequence[Span], limit: int) -> list[Span]:
    """The last `limit` seqs of these spans."""
    chosen = []
    for span in reversed(spans):
        if limit:
            chosen.append(Span(max(span.first, span.last - limit + 1), span.last))
            limit -= _size(chosen[-1:])
    return chosen


def _size(spans: Iterable[Span]) -> int:
    return sum(span.last - span.first + 1 for span in spans)


def _ranges(seqs: Iterable[int]) -> list[Span]:
    """Rising seqs as spans."""
    spans: list[Span] = []
    for seq in seqs:
        if spans and spans[-1].last == seq - 1:
            spans[-1] = Span(spans[-1].first, seq)
        else:
            spans.append(Span(seq, seq))
    return spans
