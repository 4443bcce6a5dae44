"""Who of those that a message has reached is woken: whoever has said where, and has not said that they want to be left alone.

Synchronous, and called in a thread: this is no part of the hot road.
"""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import close_old_connections, connection
from django.utils import timezone

from accounts import preferences
from accounts.preferences import PUSH_ENABLED, QUIET_HOURS
from conversations.models import Member
from devices.models import PushToken
from devices.push_tokens import Kept
from messaging.push.quiet import is_quiet

# Of the conversations a wake-up is about so many are remembered, for whether all of them are muted.
MOST_CONVERSATIONS = 64


class Reason(enum.StrEnum):
    """Why somebody who could be woken is not."""

    OFF = "off"
    QUIET = "quiet"
    MUTED = "muted"


@dataclass(slots=True, eq=False)
class Wake:
    """A device that is to be woken. Times are of the loop; `failures` in a row; `needs_mail`: only if its mailbox is not empty by then."""

    user_id: UUID
    device_id: int
    conversations: set[UUID] = field(default_factory=set)
    is_call: bool = False
    not_before: float = 0.0
    needs_mail: bool = False
    failures: int = 0

    def also(self, conversation_id: UUID) -> None:
        """Something more is there for the same device."""
        if len(self.conversations) < MOST_CONVERSATIONS:
            self.conversations.add(conversation_id)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who has said where, and who of them is left alone. Whoever is in neither has no push token."""

    kept: dict[int, Kept]
    withheld: dict[int, Reason]


def choose(wakes: Sequence[Wake]) -> Chosen:
    """Look up what these people want now. Raises DatabaseError."""
    try:
        rows = PushToken.objects.filter(
            device_id__in=[wake.device_id for wake in wakes], device__active=True, device__user__is_active=True
        )
        kept = {row.device_id: Kept(row.device_id, bytes(row.address)) for row in rows}
        reachable = [wake for wake in wakes if wake.device_id in kept]
        return Chosen(kept, _withheld(reachable) if reachable else {})
    finally:
        close_old_connections()


def _withheld(wakes: Sequence[Wake]) -> dict[int, Reason]:
    users = {wake.user_id for wake in wakes}
    enabled = preferences.read_many(users, PUSH_ENABLED)
    quiet = preferences.read_many(users, QUIET_HOURS)
    muted, now = _muted(wakes), timezone.now()
    withheld = {}
    for wake in wakes:
        if not enabled[wake.user_id]:
            withheld[wake.device_id] = Reason.OFF
        elif is_quiet(quiet[wake.user_id], now):
            withheld[wake.device_id] = Reason.QUIET
        elif _is_muted(wake, muted):
            withheld[wake.device_id] = Reason.MUTED
    return withheld


def _muted(wakes: Sequence[Wake]) -> set[tuple[UUID, UUID]]:
    mine = Member.objects.filter(
        user_id__in={wake.user_id for wake in wakes},
        conversation_id__in=set().union(*(wake.conversations for wake in wakes)),
        left_seq=None,
        muted_until__gt=timezone.now(),
    )
    return set(mine.values_list("user_id", "conversation_id"))


def _is_muted(wake: Wake, muted: Collection[tuple[UUID, UUID]]) -> bool:
    """One that may be about a conversation which is not remembered is not."""
    if not 0 < len(wake.conversations) < MOST_CONVERSATIONS:
        return False
    return all((wake.user_id, conversation_id) in muted for conversation_id in wake.conversations)


_CLAIM = """
WITH due AS (
    SELECT device_id FROM devices_push_token
    WHERE device_id = ANY(%s)
      AND (woken_at IS NULL OR woken_at NOT BETWEEN clock_timestamp() - make_interval(secs => %s) AND clock_timestamp())
    FOR UPDATE SKIP LOCKED)
UPDATE devices_push_token t SET woken_at = clock_timestamp() FROM due WHERE t.device_id = due.device_id RETURNING t.device_id
"""


def claim(device_ids: Collection[int], *, apart_seconds: float) -> set[int]:
    """Those of them that no process has woken for so long; nobody else gets them for as long. Raises DatabaseError."""
    if not device_ids:
        return set()
    try:
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, [list(device_ids), apart_seconds])
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return {row[0] for row in rows}
    finally:
        close_old_connections()
