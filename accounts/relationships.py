"""How people stand to each other: friends, asked, blocked.

A row says how one person stands to another (`Relationship.stance`), and nobody's row says anything about somebody else's. What both see follows from
the two rows: friendly on both sides are friends, friendly on one side is a request, and a block is seen by nobody but its owner. So the two sides can
never contradict each other. Whatever changes them happens with both people's rows locked, the smaller id first.
"""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.dispatch import Signal
from django.utils import timezone

from accounts.models import Relationship, Tombstone, User
from accounts.people import access_user
from accounts.transactions import short_transaction
from accounts.wire.refusals import InvalidRequest, NotFound

# Sent with `pair: tuple[UUID, UUID]` (smaller id first) and `blocked: bool`, inside the transaction that changes whether the two are kept apart: a
# receiver that raises undoes it. Both people's rows are locked.
block_changed = Signal()

_Stance = Relationship.Stance


class State(enum.StrEnum):
    """A relationship as one of the two sees it."""

    NONE = "none"
    REQUESTED = "requested"
    INCOMING = "incoming"
    FRIENDS = "friends"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Seen:
    """One relationship, as its first side sees it. `updated_at` is None where there is none."""

    user_id: UUID
    state: State
    updated_at: datetime | None = None


# What the caller sees of everybody they have to do with: their own rows, and requests of those to whom they have none.
_SEEN = """
SELECT * FROM (
    SELECT mine.other_id AS user_id,
           CASE WHEN mine.stance = 'blocking' THEN 'blocked' WHEN theirs.stance = 'friendly' THEN 'friends' ELSE 'requested' END AS state,
           CASE WHEN mine.stance = 'friendly' AND theirs.stance = 'friendly' THEN GREATEST(mine.updated_at, theirs.updated_at)
                ELSE mine.updated_at END AS updated_at
    FROM accounts_relationship mine
    LEFT JOIN accounts_relationship theirs ON theirs.user_id = mine.other_id AND theirs.other_id = mine.user_id
    WHERE mine.user_id = %(me)s
    UNION ALL
    SELECT theirs.user_id, 'incoming', theirs.updated_at FROM accounts_relationship theirs
    WHERE theirs.other_id = %(me)s AND theirs.stance = 'friendly' AND NOT EXISTS (
        SELECT FROM accounts_relationship mine WHERE mine.user_id = %(me)s AND mine.other_id = theirs.user_id)
) seen
"""
_ONE = f"{_SEEN} WHERE user_id = %(other)s"
_LIST = f"""
{_SEEN} WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(after)s::uuid IS NULL OR user_id > %(after)s) ORDER BY user_id LIMIT %(most)s
"""


def block_between(one: LiteralString, other: LiteralString) -> LiteralString:
    """The SQL condition that one of these two people blocks the other; `one` and `other` are SQL expressions of their ids."""
    return (
        "EXISTS (SELECT FROM accounts_relationship b WHERE b.stance = 'blocking'"
        f" AND (b.user_id, b.other_id) IN (({one}, {other}), ({other}, {one})))"
    )


def is_blocked_between(one: UUID, other: UUID) -> bool:
    """Whether one of the two blocks the other."""
    return bool(blocked_among(one, [other]))


def blocked_among(user_id: UUID, others: Collection[UUID]) -> set[UUID]:
    """Those of the others who block this person, or are blocked by them."""
    either = Q(user_id=user_id, other_id__in=others) | Q(user_id__in=others, other_id=user_id)
    pairs = Relationship.objects.filter(either, stance=_Stance.BLOCKING).values_list("user_id", "other_id")
    return {other if one == user_id else one for one, other in pairs}


def access(user_id: UUID, other_id: UUID) -> Seen:
    """How the user stands to the other. Raises NotFound when there is no such person."""
    access_user(other_id)
    return _seen(user_id, other_id)


def listed(user_id: UUID, *, state: State | None, after: UUID | None, most: int) -> Sequence[Seen]:
    """The user's relationships in the order of the others' ids, from behind `after`."""
    return _rows(_LIST, {"me": user_id, "state": state and state.value, "after": after, "most": most})


def befriend(user_id: UUID, other_id: UUID) -> Seen:
    """Ask for friendship, or accept it where the other has asked. Ends the user's own block. Raises NotFound, InvalidRequest for oneself."""
    return _stand(user_id, other_id, _Stance.FRIENDLY)


def block(user_id: UUID, other_id: UUID) -> Seen:
    """Block the other. A friendship ends; a request of theirs stays what it is to them. Raises NotFound, InvalidRequest for oneself."""
    return _stand(user_id, other_id, _Stance.BLOCKING)


def end(user_id: UUID, other_id: UUID) -> None:
    """Unfriend, withdraw, decline, unblock, or nothing. Raises NotFound when there is no such person."""
    if access(user_id, other_id).state == State.NONE:
        # Nobody makes others wait for nothing, however often they ask.
        return
    with short_transaction():
        _lock(user_id, other_id)
        mine = _stance(user_id, other_id)
        Relationship.objects.filter(user_id=user_id, other_id=other_id).delete()
        if mine == _Stance.BLOCKING:
            _announce(user_id, other_id)
        else:
            _end_friendliness(other_id, user_id)


def _stand(user_id: UUID, other_id: UUID, stance: Relationship.Stance) -> Seen:
    if user_id == other_id:
        raise InvalidRequest("This takes two.", field="user_id")
    with short_transaction():
        _lock(user_id, other_id)
        before = _stance(user_id, other_id)
        if before != stance:
            if stance == _Stance.BLOCKING and before == _Stance.FRIENDLY:
                # They were friends, or the user had asked: to the other it looks as if they had been left.
                _end_friendliness(other_id, user_id)
            fields = {"stance": stance, "updated_at": timezone.now()}
            Relationship.objects.update_or_create(user_id=user_id, other_id=other_id, defaults=fields)
            if _Stance.BLOCKING in (before, stance):
                _announce(user_id, other_id)
        return _seen(user_id, other_id)


def _lock(user_id: UUID, other_id: UUID) -> None:
    """Lock both people, in the one order everybody locks people in. Raises NotFound, also for one whose account is deleted and not yet erased."""
    pair = {user_id, other_id}
    both = User.objects.select_for_update(no_key=True).filter(pk__in=pair).order_by("pk")
    if len(both) != len(pair) or Tombstone.objects.filter(user_id__in=pair).exists():
        raise NotFound


def _stance(user_id: UUID, other_id: UUID) -> str | None:
    return Relationship.objects.filter(user_id=user_id, other_id=other_id).values_list("stance", flat=True).first()


def _end_friendliness(user_id: UUID, other_id: UUID) -> None:
    Relationship.objects.filter(user_id=user_id, other_id=other_id, stance=_Stance.FRIENDLY).delete()


def _announce(one: UUID, other: UUID) -> None:
    low, high = sorted((one, other))
    block_changed.send(sender=Relationship, pair=(low, high), blocked=is_blocked_between(low, high))


def _seen(user_id: UUID, other_id: UUID) -> Seen:
    found = _rows(_ONE, {"me": user_id, "other": other_id})
    return found[0] if found else Seen(other_id, State.NONE)


def _rows(query: str, params: dict[str, Any]) -> list[Seen]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        return [Seen(user_id, State(state), updated_at) for user_id, state, updated_at in cursor.fetchall()]
