"""Who has a live socket, in whatever process, and when they last had one. Kept in Redis; losing it loses a hint.

A person is one sorted set: a member for each socket, and until when it is believed to live, by Redis's own clock. Every process renews its sockets, so
a process that dies is believed for LASTS_SECONDS, and a Redis that forgets everything knows it again after the next heartbeat. A closed socket stays in
the set with the time of its end: that is when the person was last there. No set at all means that nothing is known.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from accounts import valkey
from accounts.wire.refusals import StorageUnavailable
from messaging import hints
from messaging.pauses import about
from messaging.sessions import Session

LASTS_SECONDS = 45
HEARTBEAT_SECONDS = 15.0
REMEMBERED_SECONDS = 30 * 86400
ANSWER_SECONDS = 0.5
BATCH = 500
# More than a person may have devices; the oldest ends of former sockets go.
MOST_MEMBERS = 32
FAULTS = (redis.RedisError, OSError, TimeoutError)

_NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "
# For each key a member and for how long it is believed from now on; 0: it has just ended, which is noted only of a person who is known: the end of
# a deleted account's sockets must not bring its key back.
TOUCH = (
    _NOW
    + """
for i, key in ipairs(KEYS) do
  local lasts = tonumber(ARGV[2 * i + 1])
  redis.call('ZADD', key, lasts > 0 and 'CH' or 'XX', string.format('%.3f', now + lasts), ARGV[2 * i])
  redis.call('ZREMRANGEBYRANK', key, 0, -ARGV[1] - 1)
  redis.call('EXPIRE', key, ARGV[2 * #KEYS + 2])
end
"""
)
# For each key its latest time, if there is any, and the members that are believed now.
LOOK = (
    _NOW
    + """
local found = {}
for i, key in ipairs(KEYS) do
  local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local live = redis.call('ZRANGEBYSCORE', key, string.format('(%.3f', now), '+inf')
  found[i] = {last[2] or '', live}
end
return found
"""
)


class Whereabouts(msgspec.Struct, frozen=True):
    """What is known of a person: the devices with a live socket, and when they were last seen without one."""

    devices: frozenset[int] = frozenset()
    last_seen_ms: int | None = None

    @property
    def online(self) -> bool:
        return bool(self.devices)

    @property
    def is_known(self) -> bool:
        """Whether anything is: Redis may have forgotten, or never have heard of the person."""
        return self.online or self.last_seen_ms is not None


class Online:
    """The sockets of this process, told to the others; and what the others tell."""

    def __init__(self) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._here: dict[int, Session] = {}
        self._unwritten: dict[int, tuple[Session, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def came(self, session: Session) -> None:
        """A socket is open. Never waits, never raises."""
        self._here[session.conn_id] = session
        self._note(session, LASTS_SECONDS)

    def went(self, session: Session) -> None:
        """It is closed."""
        if self._here.pop(session.conn_id, None) is not None:
            self._note(session, 0)

    async def run(self) -> None:
        """Renew what is here, for ever."""
        while True:
            await asyncio.sleep(about(HEARTBEAT_SECONDS))
            sessions = list(self._here.values())
            for first in range(0, len(sessions), BATCH):
                living = [item for item in sessions[first : first + BATCH] if item.conn_id in self._here]
                with contextlib.suppress(StorageUnavailable):
                    await self._touch([(session, LASTS_SECONDS) for session in living])

    async def look(self, user_ids: Sequence[UUID]) -> dict[UUID, Whereabouts]:
        """What is known of these people. Raises StorageUnavailable."""
        answer = await self._ask(LOOK, [_key(user_id) for user_id in user_ids], []) if user_ids else []
        return {user_id: _whereabouts(*found) for user_id, found in zip(user_ids, answer, strict=True)}

    async def close(self) -> None:
        """Write what is not written, if that goes at once."""
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=ANSWER_SECONDS)
            for task in late:
                task.cancel()
                await asyncio.wait([task])
        with contextlib.suppress(*FAULTS):
            await self._redis.aclose()

    def _note(self, session: Session, lasts: int) -> None:
        self._unwritten[session.conn_id] = (session, lasts)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """One after the other, so that an end is never overtaken by a beginning; what changed is announced when it can be looked up."""
        try:
            while self._unwritten:
                changed = [self._unwritten.pop(conn_id) for conn_id in list(self._unwritten)[:BATCH]]
                with contextlib.suppress(StorageUnavailable):
                    await self._touch(changed)
                    hints.say_changed({session.user_id for session, _ in changed})
        finally:
            self._task = None

    async def _touch(self, sockets: Collection[tuple[Session, int]]) -> None:
        keys = [_key(session.user_id) for session, _ in sockets]
        pairs = [part for session, lasts in sockets for part in (f"{session.device_id}:{session.conn_id}", lasts)]
        if keys:
            await self._ask(TOUCH, keys, [MOST_MEMBERS, *pairs, REMEMBERED_SECONDS])

    async def _ask(self, script: str, keys: Iterable[str], arguments: Iterable[str | int]) -> list[Any]:
        keys = list(keys)
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                return cast("list[Any]", await self._redis.eval(script, len(keys), *keys, *arguments))
        except FAULTS as failure:
            raise StorageUnavailable from failure


def connected_devices(user_id: UUID) -> frozenset[int]:
    """The person's devices with a live socket, for the synchronous road. Raises StorageUnavailable."""
    with valkey.required() as store:
        found = cast("list[Any]", store.eval(LOOK, 1, _key(user_id)))
    return _whereabouts(*found[0]).devices


def _key(user_id: UUID) -> str:
    return f"waypost.online.{user_id}"


def _whereabouts(last: bytes, members: Iterable[bytes]) -> Whereabouts:
    devices = frozenset(int(member.partition(b":")[0]) for member in members)
    return Whereabouts(devices, int(float(last) * 1000) if last and not devices else None)
