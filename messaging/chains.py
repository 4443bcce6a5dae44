"""The order of what a device says on one socket, also behind a failure.

The batcher keeps order among what it has queued. What the device had sent on before it heard of a failure may arrive when that queue is empty again:
it is held off here, until the send that failed comes once more. One that was held off and is repeated itself says as much: answers keep their order,
so the device has heard of the failure and goes on without that send.
"""

import asyncio
from collections import deque
from typing import NamedTuple
from uuid import UUID

from conversations.planning import is_resendable
from conversations.sends import Send
from messaging.group_commit import Outcome

# Remembered of one conversation: more than a device has on its way.
MOST_HELD_OFF = 1000
# Conversations in which something is to be repeated first: as many as anybody has. Beyond them nothing goes until one of them goes on.
MOST_FAILED = 2000


class _Place(NamedTuple):
    """One send among all of the socket's, in the order in which they came."""

    number: int
    client_message_id: UUID


class _Failed(NamedTuple):
    """The first send that is to be repeated, and those that were held off since."""

    place: _Place
    held_off: set[UUID]


class Chains:
    """The sends of one socket, conversation by conversation."""

    def __init__(self) -> None:
        self._number = 0
        self._under_way: dict[UUID, deque[tuple[_Place, asyncio.Future[Outcome]]]] = {}
        self._failed: dict[UUID, _Failed] = {}
        # Of the send that goes next, if it is a repetition.
        self._former: _Place | None = None

    def may_go(self, send: Send) -> bool:
        """Whether nothing in front of this send is still to be repeated. The repetition itself may go, and frees what comes behind it."""
        self._former = None
        self._settle(send.conversation_id)
        failed = self._failed.get(send.conversation_id)
        if failed is None:
            return len(self._failed) < MOST_FAILED
        if send.client_message_id != failed.place.client_message_id and send.client_message_id not in failed.held_off:
            if len(failed.held_off) < MOST_HELD_OFF:
                failed.held_off.add(send.client_message_id)
            return False
        if send.client_message_id == failed.place.client_message_id:
            self._former = failed.place
        del self._failed[send.conversation_id]
        return True

    def went(self, send: Send, outcome: "asyncio.Future[Outcome]") -> None:
        """The send is under way; or refused already, in front of others that still are."""
        self._number += 1
        # A repetition is where it was: what came behind it may still be under way, and fail before it.
        place, self._former = self._former or _Place(self._number, send.client_message_id), None
        if outcome.done():
            self._note(send.conversation_id, place, outcome.result())
        else:
            self._under_way.setdefault(send.conversation_id, deque()).append((place, outcome))

    def _settle(self, conversation_id: UUID) -> None:
        """The batcher decides a device's sends in their order: only the first ones can have an outcome."""
        under_way = self._under_way.get(conversation_id)
        while under_way and under_way[0][1].done():
            place, outcome = under_way.popleft()
            self._note(conversation_id, place, outcome.result())
        if not under_way:
            self._under_way.pop(conversation_id, None)

    def _note(self, conversation_id: UUID, place: _Place, outcome: Outcome) -> None:
        """Of several that failed the first has to come first."""
        if is_resendable(outcome):
            failed = self._failed.setdefault(conversation_id, _Failed(place, set()))
            if place < failed.place:
                self._failed[conversation_id] = _Failed(place, failed.held_off)
