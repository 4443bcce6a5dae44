"""Whether the parts of this installation are well. `/health` itself is answered by `middleware.liveness` and asks nobody.

PostgreSQL decides, so without it nothing can be accepted: not ready. Without the message store or Redis everything goes on, slower or later:
degraded. Each probe has a second; all run side by side; what they found holds for a second, however many ask.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
import redis.asyncio
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from accounts import postgresql
from accounts.wire.refusals import StorageUnavailable
from chatproject.routers import ELSEWHERE, home
from conversations import outbox
from messaging.store import message_store
from messaging.store.protocol import StoreUnavailable

PROBE_SECONDS = 1.0
HOLDS_SECONDS = 1.0
SLOW_MS = 250.0

OK, DEGRADED, DOWN = "ok", "degraded", "down"
UNWELL = (psycopg.Error, redis.RedisError, StoreUnavailable, StorageUnavailable, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found. `facts` are those of its entry in /health/databases."""

    status: str
    latency_ms: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Findings:
    """What all probes found at one moment."""

    postgresql: Finding
    messages: Finding
    redis: Finding
    migrations: Finding

    @property
    def status(self) -> str:
        """`down` without PostgreSQL, `degraded` when anything else is not as it should be."""
        if self.postgresql.status == DOWN:
            return DOWN
        return (
            OK
            if all(part.status == OK for part in (self.postgresql, self.messages, self.redis, self.migrations))
            else DEGRADED
        )


@csrf_exempt
@require_safe
async def ready(request: HttpRequest) -> JsonResponse:
    """Whether this process can serve: 503 only when PostgreSQL cannot be used."""
    found = await findings()
    checks = {
        name: DOWN if getattr(found, name).status == DOWN else OK
        for name in ("postgresql", "redis", "messages", "migrations")
    }
    return _answer({"status": found.status, "checks": checks}, 503 if found.status == DOWN else 200)


@csrf_exempt
@require_safe
async def databases(request: HttpRequest) -> JsonResponse:
    """Each database: what it is for, and how it does."""
    found = await findings()
    entries = {
        "default": _entry("decides", "postgresql", found.postgresql),
        "messages": _entry("keeps", settings.MESSAGES_ENGINE, found.messages),
        "redis": _entry("hints", "redis", found.redis),
    }
    return _answer({"status": found.status, "databases": entries}, 200)


def _answer(body: dict[str, Any], status: int) -> JsonResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


def _entry(role: str, engine: str, finding: Finding) -> dict[str, Any]:
    return {"role": role, "engine": engine, "status": finding.status, "latency_ms": finding.latency_ms} | finding.facts


_recent: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[float, asyncio.Task[Findings]]] = WeakKeyDictionary()


async def findings() -> Findings:
    """What the probes found within the last second; those who ask while they run wait for the same ones."""
    loop = asyncio.get_running_loop()
    asked_at, task = _recent.get(loop, (0.0, None))
    if task is None or (task.done() and time.monotonic() - asked_at > HOLDS_SECONDS):
        task = loop.create_task(_probe_all())
        _recent[loop] = (time.monotonic(), task)
    # Whoever asked first may hang up; the others still want to know.
    return await asyncio.shield(task)


async def _probe_all() -> Findings:
    applied, backlog, messages, hints = await asyncio.gather(
        _timed(_applied_migrations), _timed(_backlog), _timed(_probe_messages), _timed(_probe_redis)
    )
    return Findings(
        postgresql=Finding(applied.status, applied.latency_ms, await _pool()),
        messages=Finding(messages.status, messages.latency_ms, backlog.facts),
        redis=hints,
        migrations=Finding(OK if await _is_migrated(applied) else DOWN),
    )


async def _timed(probe: Callable[[], Awaitable[dict[str, Any]]]) -> Finding:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            facts = await probe()
    except UNWELL:
        return Finding(DOWN)
    latency_ms = round((time.perf_counter() - began) * 1000, 1)
    return Finding(OK if latency_ms < SLOW_MS else DEGRADED, latency_ms, facts)


async def _applied_migrations() -> dict[str, Any]:
    """A connection of its own: how the server does, not how the pool's connections do. A standby decides nothing, so it is down."""
    async with await psycopg.AsyncConnection.connect(postgresql.conninfo("default"), autocommit=True) as conn:
        cursor = await conn.execute("SELECT pg_is_in_recovery(), to_regclass('django_migrations') IS NOT NULL")
        is_standby, is_migrated = await cursor.fetchone() or (True, False)
        if is_standby:
            raise StorageUnavailable
        rows = await (await conn.execute("SELECT app, name FROM django_migrations")).fetchall() if is_migrated else []
    return {"applied": set(rows)}


async def _is_migrated(applied: Finding) -> bool:
    newest = await asyncio.to_thread(_newest_migrations)
    return newest.issubset(applied.facts.get("applied", ()))


@functools.cache
def _newest_migrations() -> frozenset[tuple[str, str]]:
    leaves = MigrationLoader(None).graph.leaf_nodes()
    return frozenset(leaf for leaf in leaves if home(leaf[0]) == ELSEWHERE)


async def _pool() -> dict[str, Any]:
    use = (await postgresql.pool()).use
    return {"pool": {"size": use.size, "idle": use.idle, "waiting": use.waiting}}


async def _backlog() -> dict[str, Any]:
    """Messages that are committed and not yet in their store."""
    rows, _ = await outbox.weight()
    return {"backlog": rows}


async def _probe_messages() -> dict[str, Any]:
    store = message_store()
    await store.open()
    await store.probe()
    return {}


async def _probe_redis() -> dict[str, Any]:
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=PROBE_SECONDS, retry=None) as client:
        await client.ping()
    return {}
