"""The only door to a conversation. Strangers, former members and ids of nothing get the same NotFound."""

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import msgspec

from accounts import statements
from accounts.wire.refusals import NotFound
from conversations.models import Member

VIEW = """
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, c.next_seq - 1, d.mailbox_from, (extract(epoch FROM d.created_at) * 1000)::bigint,
       (SELECT s.from_seq FROM conversations_device_start s
        WHERE s.conversation_id = c.id AND s.device_id = d.id AND s.mailbox_from = d.mailbox_from),
       ARRAY(SELECT ARRAY[m.joined_seq, COALESCE(m.left_seq, 9223372036854775807)] FROM conversations_member m
             WHERE m.conversation_id = c.id AND m.user_id = d.user_id ORDER BY m.joined_seq),
       ARRAY(SELECT ARRAY[l.from_seq, l.to_seq] FROM conversations_lost_range l WHERE l.conversation_id = c.id ORDER BY l.from_seq)
FROM conversations_conversation c JOIN devices_device d ON d.id = %s AND d.user_id = %s
WHERE c.id = %s AND EXISTS (
    SELECT FROM conversations_member m WHERE m.conversation_id = c.id AND m.user_id = d.user_id AND m.left_seq IS NULL)
"""


class Span(msgspec.Struct, frozen=True):
    """Seqs from `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, seq: int) -> bool:
        return self.first <= seq <= self.last


class LogView(msgspec.Struct, frozen=True):
    """What one device of a member may see of a log: up to `head`, within the stays of its user.

    `start`: from there on the device itself gets what is said in the present stay; None while the log has not named it. Rows at positions below
    `mailbox_from`, and those kept before `device_since_ms`, were never this installation's. What a restore of PostgreSQL has `lost` is not shown.
    `now_ms`: PostgreSQL's clock.
    """

    conversation_id: UUID
    user_id: UUID
    device_id: int
    now_ms: int
    head: int
    mailbox_from: int
    device_since_ms: int
    start: int | None
    stays: tuple[Span, ...]
    lost: tuple[Span, ...] = ()

    def spans(self, first: int, last: int) -> Iterator[Span]:
        """What of these seqs may be seen, in ascending order."""
        for stay in self.stays:
            yield from self._without_lost(max(stay.first, first), min(stay.last, last, self.head))

    def _without_lost(self, first: int, last: int) -> Iterator[Span]:
        for lost in self.lost:
            if first < lost.first <= last:
                yield Span(first, lost.first - 1)
            if lost.first <= last:
                first = max(first, lost.last + 1)
        if first <= last:
            yield Span(first, last)

    def is_lost(self, seq: int) -> bool:
        """Whether the seq was given out before a restore, and nobody knows any more for what."""
        return any(seq in lost for lost in self.lost)

    def had_device(self, seq: int, position: int, kept_ms: int) -> bool:
        """Whether the device was there to get this entry of its user's stays. The start of a former stay is not kept; the device's own age is."""
        if seq in self.stays[-1]:
            return not self.is_before_start(seq)
        return position >= self.mailbox_from and kept_ms >= self.device_since_ms

    def is_before_start(self, seq: int) -> bool:
        """Whether the seq is of the present stay, and the log had not named the device yet."""
        return seq in self.stays[-1] and (self.start is None or seq < self.start)


def access_conversation(user_id: UUID, conversation_id: UUID) -> Member:
    """The caller's stay, with its conversation. Raises NotFound."""
    mine = Member.objects.select_related("conversation").filter(conversation_id=conversation_id, user_id=user_id)
    member = mine.filter(left_seq=None).first()
    if member is None:
        raise NotFound
    return member


async def access_log(user_id: UUID, device_id: int, conversation_id: UUID) -> LogView:
    """What this device may read of the conversation's log. Raises NotFound, StorageUnavailable."""
    rows = await statements.rows(VIEW, [device_id, user_id, conversation_id])
    if not rows:
        raise NotFound
    now_ms, head, mailbox_from, since_ms, start, stays, lost = rows[0]
    spans = _spans(stays), _spans(lost)
    return LogView(conversation_id, user_id, device_id, now_ms, head, mailbox_from, since_ms, start, *spans)


def _spans(pairs: Iterable[Sequence[int]]) -> tuple[Span, ...]:
    return tuple(Span(first, last) for first, last in pairs)
