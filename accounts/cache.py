"""The cache: what PostgreSQL said a moment ago, kept in Valkey so that it is not asked again.

PostgreSQL stays the truth. While Valkey is away, slow or empty the caller loads directly: nothing is refused, nothing is lost, no error is raised. What
changes is forgotten when its transaction has committed; should that word not reach Valkey, the old value is seen for `seconds` more, and no longer.

One caller at a time loads for all processes of the installation. It holds a lease on the entry, which `forget` takes away: what was read before a change
is never stored after it (the leases of Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013).
"""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis
from django.conf import settings
from django.db import transaction
from django_redis import get_redis_connection

from accounts.sealing import Found, place_of, seal, unseal

Value = TypeVar("Value")

# The bound on how long anything old may be seen.
MOST_SECONDS = 300.0
# A loader that has died, or takes longer than PostgreSQL lets a statement take, holds nobody up and stores nothing.
LEASE_SECONDS = 3.0
# Whoever finds somebody else loading waits so long for the value, then loads too.
WAIT_SECONDS = 0.25
LOOK_AGAIN_SECONDS = 0.02
# After a failure Valkey is left alone for so long: a request that reads ten things does not wait ten times.
AWAY_SECONDS = 1.0

_LOOK = """
local entry = redis.call('GET', KEYS[1])
if entry then return {entry, 0} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, 1} end
return {false, 0}
"""
_STORE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
if #ARGV[2] > 0 then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Tallies:
    """How often each name was answered from Valkey, was loaded because Valkey did not have it, and was loaded without asking Valkey."""

    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)


# Of this process.
tallies = Tallies()
_counting = threading.Lock()
_away_until: dict[str, float] = {}


def cached(name: str, key: str, load: Callable[[], Value], seconds: float) -> Value:
    """What `load` returns, or returned at most `seconds` (up to MOST_SECONDS) ago if it was not forgotten since.

    Values are plain: None, bool, int, float, str, bytes, lists and dicts. A transaction sees its own changes and must not show them to others, so in one
    it is always loaded. What `load` raises is raised, and not remembered.
    """
    if not 0 < seconds <= MOST_SECONDS:
        sentence = f"something is cached for more than 0 and at most {MOST_SECONDS} seconds"
        raise ValueError(sentence)
    if transaction.get_connection().in_atomic_block:
        return load()
    place, lease = place_of(name, key), secrets.token_bytes(8)
    try:
        found, is_ours = _look_for(place, lease)
    except redis.RedisError:
        _count(tallies.fallbacks, name)
        return load()
    if found is not None:
        _count(tallies.hits, name)
        value: Value = found.value
        return value
    _count(tallies.misses, name)
    return _load_and_store(place, lease, load, seconds) if is_ours else load()


def forget(name: str, key: str) -> None:
    """What was cached is not seen any more once the running transaction has committed; at once where there is none. Never raises."""
    place = place_of(name, key)
    if transaction.get_connection().in_atomic_block:
        transaction.on_commit(lambda: _forget(place), robust=True)
    else:
        _forget(place)


def _look_for(place: str, lease: bytes) -> tuple[Found | None, bool]:
    """The entry, and whether its lease is ours now. Raises RedisError."""
    give_up = time.monotonic() + WAIT_SECONDS
    while True:
        entry, is_ours = _run(_LOOK, place, lease, int(LEASE_SECONDS * 1000))
        if entry is not None:
            found = unseal(place, entry)
            if found is None:
                # Not one of ours, or too old: make room for one that can be read.
                _connection().delete(place)
            return found, False
        if is_ours or time.monotonic() > give_up:
            return None, bool(is_ours)
        time.sleep(LOOK_AGAIN_SECONDS)


def _load_and_store(place: str, lease: bytes, load: Callable[[], Value], seconds: float) -> Value:
    entry = b""
    try:
        value = load()
        entry = seal(place, value, seconds)
    finally:
        _quietly(lambda: _run(_STORE, place, lease, entry, int(seconds * 1000)))
    return value


def _forget(place: str) -> None:
    _quietly(lambda: _connection().delete(place, _lease_of(place)))


def _run(script: str, place: str, *arguments: Any) -> Any:
    """Raises RedisError, at once if Valkey has just failed somebody."""
    if time.monotonic() < _away_until.get(settings.REDIS_URL, 0.0):
        raise redis.ConnectionError
    try:
        return _connection().eval(script, 2, place, _lease_of(place), *arguments)
    except redis.RedisError:
        _away_until[settings.REDIS_URL] = time.monotonic() + AWAY_SECONDS
        raise


def _quietly(work: Callable[[], Any]) -> None:
    try:
        work()
    except redis.RedisError:
        _away_until[settings.REDIS_URL] = time.monotonic() + AWAY_SECONDS


def _connection() -> Any:
    return get_redis_connection("default")


def _lease_of(place: str) -> str:
    return f"{place}:lease"


def _count(tally: Counter[str], name: str) -> None:
    with _counting:
        tally[name] += 1
