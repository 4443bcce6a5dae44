"""Rate limits, counted in Redis over a moving window.

Each limit says what becomes of it while Redis is gone: what guards a secret or drains keys refuses, plain traffic is counted in the process.
"""

import enum
import functools
import time
from dataclasses import dataclass

import redis
from django.conf import settings
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from accounts import valkey
from accounts.wire.refusals import RateLimited, StorageUnavailable


class WithoutRedis(enum.Enum):
    """What a limit does while Redis is gone."""

    REFUSE = "refuse"
    COUNT_HERE = "count here"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most LIMITS[setting] in any `seconds`, or `percent` of that. A setting of 0 turns it off."""

    setting: str
    seconds: int
    without_redis: WithoutRedis
    percent: int = 100


def spend(limit: Limit, *subject: str, cost: int = 1) -> None:
    """Count `cost` against the subject. Raises RateLimited, and counts nothing, when that is more than what is left."""
    item = _item(limit)
    if item is not None and not _ask(limit, item, subject, cost, "hit"):
        raise RateLimited(retry_after=_seconds_left(limit, item, subject))


def require(limit: Limit, *subject: str, cost: int = 1) -> None:
    """Raise RateLimited when the subject could not spend `cost` now; counts nothing."""
    item = _item(limit)
    if item is not None and not _ask(limit, item, subject, cost, "test"):
        raise RateLimited(retry_after=_seconds_left(limit, item, subject))


def _item(limit: Limit) -> RateLimitItemPerSecond | None:
    most = settings.LIMITS[limit.setting][0] * limit.percent // 100
    return RateLimitItemPerSecond(most, limit.seconds, namespace=limit.setting) if most else None


def _ask(limit: Limit, item: RateLimitItemPerSecond, subject: tuple[str, ...], cost: int, verb: str) -> bool:
    try:
        return bool(getattr(_shared(settings.REDIS_URL), verb)(item, *subject, cost=cost))
    except redis.RedisError as failure:
        if limit.without_redis is WithoutRedis.REFUSE:
            raise StorageUnavailable from failure
        return bool(getattr(_own(), verb)(item, *subject, cost=cost))


def _seconds_left(limit: Limit, item: RateLimitItemPerSecond, subject: tuple[str, ...]) -> float:
    try:
        reset_time = _shared(settings.REDIS_URL).get_window_stats(item, *subject).reset_time
    except redis.RedisError:
        return limit.seconds
    return min(max(reset_time - time.time(), 1), limit.seconds)


@functools.cache
def _shared(_url: str) -> MovingWindowRateLimiter:
    pool = valkey.client().connection_pool
    return MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=pool, key_prefix="limit"))


@functools.cache
def _own() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(MemoryStorage())
