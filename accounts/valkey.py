"""Redis or Valkey, for what may be forgotten: codes, registration tokens, counters, the cache.

Synchronous and impatient: half a second after a call began, the server has answered or counts as gone.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from django.conf import settings
from django_redis.pool import ConnectionFactory
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.wire.refusals import StorageUnavailable

PATIENCE_SECONDS = 0.2
CONNECTIONS = 32
SCANNED_AT_ONCE = 500


def client() -> redis.Redis:
    """This process's client."""
    return _client(settings.REDIS_URL)


@functools.cache
def _client(url: str) -> redis.Redis:
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=PATIENCE_SECONDS,
        socket_timeout=PATIENCE_SECONDS,
        socket_connect_timeout=PATIENCE_SECONDS,
        # Once more on a connection that a restarted server has left behind; never after a time-out, which may have done its work.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    return redis.Redis(connection_pool=pool)


class SharedConnections(ConnectionFactory):  # type: ignore[misc]
    """django-redis' connections: the same ones, as impatient. Its own would try four times before they give up."""

    def get_or_create_connection_pool(self, params: dict[str, Any]) -> redis.ConnectionPool:
        return _client(params["url"]).connection_pool


@contextmanager
def required() -> Iterator[redis.Redis]:
    """The client, for work that must not go on without it: raises StorageUnavailable when the server is gone."""
    try:
        yield client()
    except redis.RedisError as failure:
        raise StorageUnavailable from failure


def delete_matching(pattern: str) -> int:
    """Delete the keys that match, looking through all of them a little at a time; how many there were. Raises StorageUnavailable."""
    with required() as store:
        return sum(int(store.delete(key)) for key in store.scan_iter(match=pattern, count=SCANNED_AT_ONCE))
