"""Whether the parts of this installation are well. `/health` itself is answered by `middleware.liveness` and asks nobody.

PostgreSQL decides, so without it nothing can be accepted: not ready. No more with one that answers and is not the one the message store belongs to,
or was not compared with it yet; why, the log says (`accounts.lineage_guard`). Without the message store or Redis everything goes on, slower or later:
degraded. Which of them is away is what this process believes (`messaging.condition`) and has told its sockets; only what else is said of them is
found out here. What was found holds for a second, however many ask.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from accounts import postgresql
from accounts.lineage_guard import guard
from accounts.wire.refusals import StorageUnavailable
from chatproject.routers import ELSEWHERE, home
from conversations import backlog
from messaging.condition import MESSAGES, POSTGRESQL, REDIS, Condition, Store
from messaging.runtime import running

ANSWER_SECONDS = 1.0
HOLDS_SECONDS = 1.0
SLOW_MS = 250.0

OK, DEGRADED, DOWN = "ok", "degraded", "down"
UNWELL = (psycopg.Error, StorageUnavailable, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one of them is. `facts` are those of its entry in /health/databases."""

    status: str
    latency_ms: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Findings:
    """How all of them are at one moment."""

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
    """What was found within the last second; those who ask while it is being found out wait for the same."""
    loop = asyncio.get_running_loop()
    asked_at, task = _recent.get(loop, (0.0, None))
    if task is None or (task.done() and time.monotonic() - asked_at > HOLDS_SECONDS):
        task = loop.create_task(_find_out())
        _recent[loop] = (time.monotonic(), task)
    # Whoever asked first may hang up; the others still want to know.
    return await asyncio.shield(task)


async def _find_out() -> Findings:
    condition = (await running()).condition
    applied, backlog = await asyncio.gather(_asked(condition, _applied_migrations), _asked(condition, _backlog))
    return Findings(
        postgresql=_finding(condition, POSTGRESQL, _pool()),
        messages=_finding(condition, MESSAGES, backlog),
        redis=_finding(condition, REDIS, {}),
        migrations=Finding(OK if await _is_migrated(applied) else DOWN),
    )


def _finding(condition: Condition, store: Store, facts: dict[str, Any]) -> Finding:
    if condition.is_away(store) or (store == POSTGRESQL and not guard.may_serve):
        return Finding(DOWN, None, facts)
    latency_ms = condition.latency_ms(store)
    return Finding(DEGRADED if (latency_ms or 0) >= SLOW_MS else OK, latency_ms, facts)


async def _asked(condition: Condition, question: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """What PostgreSQL says, if it says it in time."""
    if condition.is_away(POSTGRESQL):
        return {}
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await question()
    except UNWELL:
        return {}


async def _applied_migrations() -> dict[str, Any]:
    async with postgresql.connection() as conn:
        rows = await (await conn.execute("SELECT app, name FROM django_migrations")).fetchall()
    return {"applied": set(rows)}


async def _is_migrated(found: dict[str, Any]) -> bool:
    newest = await asyncio.to_thread(_newest_migrations)
    return newest.issubset(found.get("applied", ()))


@functools.cache
def _newest_migrations() -> frozenset[tuple[str, str]]:
    leaves = MigrationLoader(None).graph.leaf_nodes()
    return frozenset(leaf for leaf in leaves if home(leaf[0]) == ELSEWHERE)


def _pool() -> dict[str, Any]:
    use = postgresql.pool().use
    return {"pool": {"size": use.size, "idle": use.idle, "waiting": use.waiting}}


async def _backlog() -> dict[str, Any]:
    """Messages that are committed and not yet in their store."""
    return {"backlog": (await backlog.measure()).rows}
