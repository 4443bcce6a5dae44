"""The environments of the installations that are loaded: where they keep messages, in databases made afresh for each run."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks.options import CASSANDRA
from chatproject.launcher.errors import refuse
from chatproject.launcher.postgres import create_database

# A load generator is no ordinary client.
NO_LIMITS = {
    f"LIMIT_{name}": "0"
    for name in (
        "FRAMES_BURST",
        "FRAMES_PER_SECOND",
        "SEND_BURST",
        "SEND_PER_SECOND",
        "CONVERSATION_PER_SECOND",
        "HANDSHAKES_PER_MIN",
    )
}
SERVERS = {"postgresql": "POSTGRES_PID", "valkey": "VALKEY_PID", "cassandra": "CASSANDRA_PID"}


def environment_of(layout: str, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of an installation with this layout. Its PostgreSQL databases are empty."""
    if not given.get("POSTGRES_URL") or not given.get("REDIS_URL"):
        refuse("The benchmarks need servers: start them with make bench, or set POSTGRES_URL and REDIS_URL.")
    main = fresh_database(given["POSTGRES_URL"], f"waypost_bench_{layout}")
    chosen = {**given, **NO_LIMITS, "POSTGRES_URL": main}
    if layout == CASSANDRA:
        chosen["SCYLLADB_URL"] = _with_path(given["CASSANDRA_TEST_URL"], "waypost_bench")
    else:
        chosen.pop("SCYLLADB_URL", None)
        chosen["MESSAGES_URL"] = fresh_database(given["POSTGRES_URL"], f"waypost_bench_{layout}_messages")
    return chosen


def fresh_database(url: str, name: str) -> str:
    """An empty database on the server of `url`; one of this name that was there is gone."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    create_database(url, name)
    return _with_path(url, name)


def _with_path(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()  # noqa: SLF001  (a namedtuple's public method)


def server_processes(environment: Mapping[str, str], layout: str) -> dict[str, list[int]]:
    """The stores' processes on this machine, as far as the environment names them."""
    names = [name for name in SERVERS if name != "cassandra" or layout == CASSANDRA]
    return {name: [int(environment[SERVERS[name]])] for name in names if environment.get(SERVERS[name])}


def can_have(layout: str) -> bool:
    """Whether the stores of this layout are there."""
    return layout != CASSANDRA or "CASSANDRA_TEST_URL" in os.environ
