"""Servers for tests and benchmarks: beside those of `run`, empty at every start, gone afterwards."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from chatproject.launcher.cassandra import TEST, CassandraNode, Profile
from chatproject.launcher.cassandra.jars import fetch_jars
from chatproject.launcher.cassandra.java import find_java
from chatproject.launcher.console import Progress, complain
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.postgres import PostgresServer
from chatproject.launcher.secret import fresh_secrets
from chatproject.launcher.server import Server
from chatproject.launcher.valkey import ValkeyServer


@contextmanager
def private_servers(directory: Path, profile: Profile = TEST) -> Iterator[dict[str, str]]:
    """PostgreSQL, Valkey and, where it can be had, Cassandra; yields the environment that leads to them."""
    postgres = PostgresServer(directory / "postgres")
    valkey = ValkeyServer(directory / "valkey")
    servers: list[Server] = [postgres, valkey]
    cassandra = CassandraNode(directory / "cassandra", profile=profile) if cassandra_is_here() else None
    if cassandra:
        servers.append(cassandra)
    try:
        with Progress(f"Starting {', '.join(server.name for server in servers)}"):
            start_together(servers, fresh=True)
        yield _environment(postgres, valkey, cassandra)
    finally:
        _discard(servers)


def cassandra_is_here() -> bool:
    """Whether a node can be started. If not, one loud line says why; where CASSANDRA_REQUIRED is set that is an error."""
    try:
        find_java()
        fetch_jars()
    except LauncherError as reason:
        if os.environ.get("CASSANDRA_REQUIRED", "0") not in {"", "0"}:
            raise
        complain(f"!!! Cassandra is not here: {reason} Its tests are SKIPPED.")
        return False
    return True


def start_together(servers: list[Server], *, fresh: bool = False) -> None:
    """Starts all at once; returns when all are ready. The first failure is raised when all have ended their start."""
    with ThreadPoolExecutor(len(servers)) as pool:
        starts = [pool.submit(_start, server, fresh=fresh) for server in servers]
        try:
            for start in starts:
                start.result()
        except BaseException:
            for server in servers:
                server.abandon()
            raise


def _start(server: Server, *, fresh: bool) -> None:
    if fresh:
        server.clear()
    server.start()


def _environment(postgres: PostgresServer, valkey: ValkeyServer, cassandra: CassandraNode | None) -> dict[str, str]:
    environment = {
        "ENVIRONMENT": "test",
        "POSTGRES_URL": postgres.create_database("waypost"),
        "MESSAGES_URL": postgres.create_database("waypost_messages"),
        "REDIS_URL": valkey.url,
        **fresh_secrets(),
    }
    if cassandra:
        environment["CASSANDRA_TEST_URL"] = cassandra.url_for("test_waypost")
    return environment


def _discard(servers: list[Server]) -> None:
    """Nothing here is worth a careful shutdown."""
    for server in servers:
        server.kill()
        server.forget()
        shutil.rmtree(server.data, ignore_errors=True)
