"""Finding out how the stores of this process are: each is asked now and then, and at once when somebody on the hot road got no answer.

A stopped store refuses nothing and answers nothing; a process that has nothing to do asks nothing. Both are why somebody has to ask.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import psycopg
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from accounts import postgresql
from accounts.connections import Connections
from accounts.wire.refusals import StorageUnavailable
from messaging.condition import MESSAGES, POSTGRESQL, REDIS, Condition, Store
from messaging.pauses import end_all, is_set_within
from messaging.store.protocol import MessageStore, StoreUnavailable

# How long a store has for its answer, and how long it is left alone after it.
ANSWER_SECONDS = 1.0
CALM_SECONDS = 1.5
DOUBTFUL_SECONDS = 0.4
# A little less, so that the connection ends by its own impatience and the rest of the probe goes on.
IMPATIENCE_SECONDS = 0.9
# An answer missed by more than this was missed by the loop, which had other things to do: it says nothing of the store.
LATE_SECONDS = 0.5

UNWELL = (psycopg.Error, redis.RedisError, StoreUnavailable, StorageUnavailable, TimeoutError, OSError)

Probe = Callable[[], Awaitable[None]]


class Prober:
    """Keeps the condition of one process up to date."""

    def __init__(
        self, condition: Condition, probes: Mapping[Store, Probe], answered: Callable[[Store], None] = lambda _: None
    ) -> None:
        """A probe returns when its store is well, and raises one of UNWELL, or takes too long, when it is not. `answered` hears of each answer."""
        self._answered = answered
        self._condition = condition
        self._probes = probes
        self._doubts = {store: asyncio.Event() for store in probes}
        self._heard_at = dict.fromkeys(probes, 0.0)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Afterwards each store was asked once, and is asked on."""
        await asyncio.gather(*(self._ask(store) for store in self._probes))
        self._tasks = [asyncio.create_task(self._ask_for_ever(store)) for store in self._probes]

    async def stop(self) -> None:
        await end_all(set(self._tasks))

    def doubt(self, store: Store) -> None:
        """Somebody got no answer from it: ask it now."""
        if not self._condition.is_away(store):
            self._doubts[store].set()

    def heard(self, store: Store) -> None:
        """Somebody got an answer from it: a probe that misses its own at this time was only unlucky."""
        self._heard_at[store] = asyncio.get_running_loop().time()

    async def _ask_for_ever(self, store: Store) -> None:
        while True:
            is_calm = not (self._condition.is_away(store) or self._condition.is_doubtful(store))
            await is_set_within(self._doubts[store], CALM_SECONDS if is_calm else DOUBTFUL_SECONDS)
            self._doubts[store].clear()
            await self._ask(store)

    async def _ask(self, store: Store) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._probes[store]()
        except UNWELL:
            was_late = loop.time() - began > ANSWER_SECONDS + LATE_SECONDS
            if not was_late and self._heard_at[store] < began:
                self._condition.missed(store)
        else:
            self._condition.answered(store, latency_ms=round((loop.time() - began) * 1000, 1))
            self._answered(store)


class StoreProbes:
    """The probes of the three stores, each with a connection of its own: how the server does, not how busy this process's connections are."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._postgresql = Connections(postgresql.conninfo("default"), size=1, checkout_seconds=ANSWER_SECONDS)
        self._redis = redis.asyncio.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self.by_store: Mapping[Store, Probe] = {
            REDIS: self._ask_redis,
            MESSAGES: self._store.probe,
            POSTGRESQL: self._ask_postgresql,
        }

    async def close(self) -> None:
        await self._postgresql.close()
        await self._redis.aclose()

    async def _ask_redis(self) -> None:
        await self._redis.ping()

    async def _ask_postgresql(self) -> None:
        """A standby decides nothing, so it is away. An answer that the hot road has got meanwhile is as good as one of our own."""
        began = time.monotonic()
        try:
            is_standby = await self._is_standby(until=began + IMPATIENCE_SECONDS)
        except (psycopg.Error, TimeoutError, OSError):
            if postgresql.pool().answered_at < began:
                raise
        else:
            if is_standby:
                raise StorageUnavailable

    async def _is_standby(self, *, until: float) -> bool:
        async with self._postgresql.one(until=until) as conn:
            row = await (await conn.execute("SELECT pg_is_in_recovery()")).fetchone()
        return row is None or bool(row[0])
