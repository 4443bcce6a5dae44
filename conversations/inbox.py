"""Conversations as one of their members sees them: a fixed number of queries, however many there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL

from accounts import preferences
from accounts.models import User
from accounts.preferences import READ_RECEIPTS
from accounts.wire.refusals import NotFound
from conversations import tallies
from conversations.access import access_conversation
from conversations.entries import MESSAGE
from conversations.models import Conversation, LedgerRow, Member

MOST_UNREAD = 999


@dataclass(frozen=True, slots=True)
class Seen:
    """A conversation, the caller's stay in it, and what is counted for them."""

    member: Member
    member_count: int
    unread: int
    peer: User | None


@dataclass(frozen=True, slots=True)
class SeenMember:
    """A member as another one sees them. `last_read_seq` is None where one of the two does not want read receipts."""

    member: Member
    last_read_seq: int | None


class _Count(Subquery):
    """How many rows the query has; unlike an aggregate it stops at the query's own limit."""

    template = "(SELECT count(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def listed(user_id: UUID, *, after: Any, most: int) -> list[Seen]:
    """The user's conversations, last activity first, from behind the position `after`. A direct one that was left is not among them until its
    next message.
    """
    mine = _seen(user_id).exclude(hidden_at_seq__gte=F("conversation__next_seq") - 1)
    if after is not None:
        active_ms, conversation_id = after
        mine = mine.filter(
            Q(conversation__last_kept_ms__lt=active_ms)
            | Q(conversation__last_kept_ms=active_ms, conversation_id__lt=conversation_id)
        )
    return _with_peers(list(mine.order_by("-conversation__last_kept_ms", "-conversation_id")[:most]))


def position(seen: Seen) -> list[Any]:
    """Where a list of conversations goes on after this one."""
    return [seen.member.conversation.last_kept_ms, str(seen.member.conversation_id)]


def one(user_id: UUID, conversation_id: UUID) -> Seen:
    """One conversation. Raises NotFound."""
    found = _with_peers(_seen(user_id).filter(conversation_id=conversation_id))
    if not found:
        raise NotFound
    return found[0]


def members(user_id: UUID, conversation_id: UUID, *, after: int = 0, most: int | None = None) -> Sequence[SeenMember]:
    """The members, in the order they came. Raises NotFound."""
    access_conversation(user_id, conversation_id)
    present = _present(conversation_id).filter(pk__gt=after).select_related("user")
    return _as_seen_by(user_id, list(present.order_by("pk")[:most]))


def chosen_members(user_id: UUID, conversation_id: UUID, chosen: Iterable[UUID]) -> Sequence[SeenMember]:
    """Those of the chosen who are members now, as this user sees them."""
    there = _present(conversation_id).filter(user_id__in=chosen).select_related("user")
    return _as_seen_by(user_id, list(there.order_by("pk")))


def _as_seen_by(user_id: UUID, present: Sequence[Member]) -> list[SeenMember]:
    wanted = preferences.read_many({user_id, *(member.user_id for member in present)}, READ_RECEIPTS)

    def mark(member: Member) -> int | None:
        is_shown = member.user_id == user_id or (wanted[user_id] and wanted[member.user_id])
        return member.last_read_seq if is_shown else None

    return [SeenMember(member, mark(member)) for member in present]


def _present(conversation_id: UUID) -> QuerySet[Member]:
    return Member.objects.filter(conversation_id=conversation_id, left_seq=None)


def _seen(user_id: UUID) -> QuerySet[Member]:
    there = Member.objects.filter(conversation_id=OuterRef("conversation_id"), left_seq=None)
    unread = LedgerRow.objects.filter(
        conversation_id=OuterRef("conversation_id"), seq__gt=OuterRef("last_read_seq"), kind=MESSAGE, urgent=True
    ).exclude(sender_user_id=user_id)
    return (
        Member.objects.filter(user_id=user_id, left_seq=None)
        .select_related("conversation")
        .annotate(
            member_count=_Count(there.values("pk")),
            unread=_Count(unread.values("seq")[:MOST_UNREAD]),
            # In the same statement, because pruning turns rows into tallies at any moment.
            unread_before=RawSQL(tallies.UNREAD, [user_id], IntegerField()),  # noqa: S611  (a constant)
        )
    )


def _with_peers(mine: Iterable[Any]) -> list[Seen]:
    found = list(mine)
    direct = [member.conversation_id for member in found if member.conversation.kind == Conversation.Kind.DIRECT]
    others = Member.objects.filter(conversation_id__in=direct).exclude(user_id__in=[member.user_id for member in found])
    peers = {member.conversation_id: member.user for member in others.select_related("user")} if direct else {}
    return [Seen(member, member.member_count, _unread(member), peers.get(member.conversation_id)) for member in found]


def _unread(member: Any) -> int:
    """What the ledger has, and what it has forgotten."""
    return min(MOST_UNREAD, int(member.unread + member.unread_before))
