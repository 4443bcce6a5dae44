"""Presence: who is there, told to those who asked, until they ask for others.

A process listens for changes of everybody its sockets watch, and looks at all of them now and then: hints may be lost, and a process that was killed
says nothing. Who may see whom is asked again before each telling.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from uuid import UUID

from accounts.wire.refusals import StorageUnavailable
from messaging import circles, hints
from messaging.frames import PersonFields, PresenceNoticeFrame, wire_time
from messaging.online import Online, Whereabouts
from messaging.pauses import about, is_set_within

logger = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
# Changes of one moment are looked at together.
GATHER_SECONDS = 0.2
BATCH = 200


class Watch:
    """Whom one socket watches, and what it was told of each."""

    def __init__(self, user_id: UUID, put: Callable[[PresenceNoticeFrame], None]) -> None:
        self.user_id = user_id
        self.put = put
        self.watched: frozenset[UUID] = frozenset()
        self.told: dict[UUID, bool] = {}

    def tell(self, found: dict[UUID, Whereabouts], ref: str | None = None) -> None:
        """Say how these people are, and remember it."""
        self.told |= {user_id: where.online for user_id, where in found.items()}
        self.put(PresenceNoticeFrame(users=[_fields(*item) for item in found.items()], ref=ref))


class Presence:
    """All watches of one process."""

    def __init__(self, online: Online) -> None:
        self._online = online
        self._watches: dict[UUID, set[Watch]] = {}
        self._ears: dict[UUID, hints.Listening] = {}
        self._changed: set[UUID] = set()
        self._news = asyncio.Event()

    async def ask(self, watch: Watch, user_ids: Sequence[UUID], ref: str | None) -> None:
        """Tell how those of these people are whom the watch may see, and from now on what changes. Raises StorageUnavailable, and watches nobody then."""
        self.end(watch)
        seen = await circles.acquainted(watch.user_id, user_ids) if user_ids else set()
        present = [user_id for user_id in dict.fromkeys(user_ids) if user_id in seen]
        # Listening begins before looking: a change in between is looked at afterwards.
        self._begin(watch, present)
        try:
            found = await self._online.look(present)
        except StorageUnavailable:
            self.end(watch)
            raise
        watch.tell(found, ref)

    def end(self, watch: Watch) -> None:
        """It watches nobody any more."""
        for user_id in watch.watched:
            watches = self._watches[user_id]
            watches.discard(watch)
            if not watches:
                del self._watches[user_id]
                self._ears.pop(user_id).stop()
        watch.watched, watch.told = frozenset(), {}

    async def run(self) -> None:
        """Tell of changes, for ever."""
        loop = asyncio.get_running_loop()
        next_look = loop.time() + LOOK_SECONDS
        while True:
            if await is_set_within(self._news, max(0.0, next_look - loop.time())):
                await asyncio.sleep(GATHER_SECONDS)
                self._news.clear()
                await self._look_at(self._taken())
            else:
                await self._look_at(list(self._watches))
                next_look = loop.time() + about(LOOK_SECONDS)

    def _begin(self, watch: Watch, user_ids: Iterable[UUID]) -> None:
        self.end(watch)
        watch.watched = frozenset(user_ids)
        for user_id in watch.watched:
            if user_id not in self._watches:
                self._watches[user_id] = set()
                self._ears[user_id] = hints.listen_for_changes(user_id, partial(self._heard, user_id))
            self._watches[user_id].add(watch)

    def _heard(self, user_id: UUID) -> None:
        self._changed.add(user_id)
        self._news.set()

    def _taken(self) -> list[UUID]:
        changed, self._changed = self._changed, set()
        return [user_id for user_id in changed if user_id in self._watches]

    async def _look_at(self, user_ids: Sequence[UUID]) -> None:
        for first in range(0, len(user_ids), BATCH):
            try:
                await self._tell_changes(user_ids[first : first + BATCH])
            except StorageUnavailable:
                # At the next look they are still different from what was told.
                logger.debug("presence could not be looked up")

    async def _tell_changes(self, user_ids: Collection[UUID]) -> None:
        for user_id, where in (await self._online.look(list(user_ids))).items():
            news = [watch for watch in self._watches.get(user_id, ()) if _is_news(watch.told.get(user_id), where)]
            if news:
                allowed = await circles.acquainted(user_id, {watch.user_id for watch in news})
                for watch in news:
                    if watch.user_id in allowed and user_id in watch.told:
                        watch.tell({user_id: where})


def _is_news(told: bool | None, where: Whereabouts) -> bool:  # noqa: FBT001  (None: not answered yet)
    return told is not None and where.is_known and told != where.online


def _fields(user_id: UUID, where: Whereabouts) -> PersonFields:
    last_seen = None if where.last_seen_ms is None else wire_time(where.last_seen_ms)
    return PersonFields(user_id=user_id, online=where.online, last_seen_at=last_seen)
