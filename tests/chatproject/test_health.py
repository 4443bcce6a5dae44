"""Health: alive is always told, ready depends on PostgreSQL alone, and every database has its line."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.test import AsyncClient, Client

from accounts import postgresql
from chatproject import health
from messaging import runtime
from tests.cast import Http
from tests.deadlines import promised

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def browser(services: None) -> AsyncIterator[AsyncClient]:
    yield AsyncClient()
    await runtime.stop()


async def get(browser: AsyncClient, path: str) -> tuple[int, Any]:
    response = await browser.get(path)
    return response.status_code, response.json()


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_alive_is_told_at_once_and_before_anything_else(
    path: str, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    settings.REDIS_URL = "unix:///nowhere.sock"
    client = Client()
    client.get(path)
    with django_assert_num_queries(0):
        # CPU, not time: on a busy machine others have the core meanwhile.
        began = time.process_time()
        response = client.get(path, headers={"Host": "by-address"})
    assert time.process_time() - began < 0.01
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_all_well(browser: AsyncClient) -> None:
    assert await get(browser, "/health/ready") == (
        200,
        {"status": "ok", "checks": {"postgresql": "ok", "redis": "ok", "messages": "ok", "migrations": "ok"}},
    )


async def test_each_database_has_its_line(browser: AsyncClient) -> None:
    status, body = await get(browser, "/health/databases")
    assert (status, body["status"]) == (200, "ok")
    entries = body["databases"]
    assert {alias: (entry["role"], entry["status"]) for alias, entry in entries.items()} == {
        "default": ("decides", "ok"),
        "messages": ("keeps", "ok"),
        "redis": ("hints", "ok"),
    }
    assert all(isinstance(entry["latency_ms"], float) for entry in entries.values())
    assert entries["default"]["pool"].keys() == {"size", "idle", "waiting"}
    assert entries["messages"]["backlog"] == 0


async def test_without_redis_it_is_degraded_and_ready(browser: AsyncClient, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock"
    status, body = await get(browser, "/health/ready")
    assert (status, body["status"], body["checks"]["redis"]) == (200, "degraded", "down")
    line = (await get(browser, "/health/databases"))[1]["databases"]["redis"]
    assert (line["status"], line["latency_ms"]) == ("down", None)


async def test_without_postgresql_it_is_not_ready(browser: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "conninfo", lambda _: "host=/nowhere dbname=x connect_timeout=2")
    status, body = await get(browser, "/health/ready")
    assert (status, body["status"], body["checks"]["postgresql"]) == (503, "down", "down")
    assert (await get(browser, "/health/databases"))[0] == 200


async def test_with_a_postgresql_that_went_back_it_is_not_ready_and_the_log_says_why_once(
    browser: AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "HOLDS_SECONDS", 0.0)
    assert (await get(browser, "/health/ready"))[0] == 200
    heart = (await runtime.running()).heart
    await heart.beat()
    async with postgresql.connection() as conn:
        await conn.execute("UPDATE accounts_beat SET beat = beat - 1")
    for _ in range(3):
        await heart.beat()
    status, body = await get(browser, "/health/ready")
    assert (status, body["status"], body["checks"]["postgresql"]) == (503, "down", "down")
    status, body = await get(browser, "/health/databases")
    assert (status, body["databases"]["default"]["status"]) == (200, "down")
    assert len([line for line in caplog.messages if "it has gone back" in line]) == 1
    assert (await runtime.running()).numbers().misplaced
    async with postgresql.connection() as conn:
        await conn.execute("UPDATE accounts_beat SET beat = beat + 1")
    await heart.beat()
    assert (await get(browser, "/health/ready"))[0] == 200
    assert not (await runtime.running()).numbers().misplaced


async def test_a_silent_server_costs_a_second(browser: AsyncClient, settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        status, body = await get(browser, "/health/ready")
        assert time.monotonic() - began < promised(4)
    assert (status, body["checks"]["redis"]) == (200, "down")


async def test_what_was_found_holds_for_a_second_however_many_ask(browser: AsyncClient) -> None:
    found = await asyncio.gather(*(health.findings() for _ in range(50)))
    first = await health.findings()
    assert all(one is first for one in found)
    await asyncio.sleep(health.HOLDS_SECONDS + 0.1)
    assert await health.findings() is not first


async def test_a_missing_migration_is_told(browser: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_newest_migrations", lambda: frozenset({("devices", "9999_future")}))
    status, body = await get(browser, "/health/ready")
    assert (status, body["status"], body["checks"]["migrations"]) == (200, "degraded", "down")


def test_the_page_at_the_root_says_what_runs_here(anyone: Http) -> None:
    answer = anyone.get("/")
    assert answer.status == 200
    page = answer.body.decode()
    assert all(
        link in page for link in ('href="/admin/"', 'href="/api/docs"', 'href="/health/ready"', "ws://testserver/ws")
    )
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]
