"""Servers for tests and benchmarks: beside those of `run`, empty at every start, gone afterwards."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatproject.launcher.cassandra import TEST, CassandraNode, Profile
from chatproject.launcher.cassandra.jars import fetch_jars
from chatproject.launcher.cassandra.java import find_java
from chatproject.launcher.console import complain
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.postgres import PostgresServer
from chatproject.launcher.secret import fresh_secrets
from chatproject.launcher.server import Server
from chatproject.launcher.together import start_together
from chatproject.launcher.valkey import ValkeyServer


@contextmanager
def private_servers(directory: Path, profile: Profile = TEST, *, durable: bool = True) -> Iterator[dict[str, str]]:
    """PostgreSQL, Valkey and, where it can be had, Cassandra; yields the environment that leads to them.

    With CASSANDRA_TEST_URL in our own environment, that cluster is used instead of a node of our own.
    """
    postgres = PostgresServer(directory / "postgres", durable=durable)
    valkey = ValkeyServer(directory / "valkey")
    servers: list[Server] = [postgres, valkey]
    cassandra = CassandraNode(directory / "cassandra", profile=profile) if _own_cassandra_is_here() else None
    if cassandra:
        servers.append(cassandra)
    try:
        for server in servers:
            server.clear()
        start_together(servers)
        yield _environment(postgres, valkey, cassandra)
    finally:
        _discard(servers)


def _own_cassandra_is_here() -> bool:
    """Whether a node of our own is wanted and can be started. If it cannot, one loud line says why; where CASSANDRA_REQUIRED is set that is an error."""
    if os.environ.get("CASSANDRA_TEST_URL"):
        return False
    try:
        fetch_jars()
        find_java()
    except LauncherError as reason:
        if os.environ.get("CASSANDRA_REQUIRED", "0") not in {"", "0"}:
            raise
        complain(f"!!! Cassandra is not here: {reason} Its tests are SKIPPED.")
        return False
    return True


def _environment(postgres: PostgresServer, valkey: ValkeyServer, cassandra: CassandraNode | None) -> dict[str, str]:
    environment = {
        "ENVIRONMENT": "test",
        "POSTGRES_URL": postgres.create_database("waypost"),
        "MESSAGES_URL": postgres.create_database("waypost_messages"),
        "REDIS_URL": valkey.url,
        "POSTGRES_PID": str(postgres.pid),
        "VALKEY_PID": str(valkey.pid),
        **fresh_secrets(),
    }
    if cassandra:
        environment["CASSANDRA_PID"] = str(cassandra.pid)
        environment["CASSANDRA_TEST_URL"] = cassandra.url_for("test_waypost")
    return environment


def _discard(servers: list[Server]) -> None:
    """Nothing here is worth a careful shutdown."""
    for server in servers:
        server.kill()
        server.forget()
        shutil.rmtree(server.data, ignore_errors=True)
