"""Which stores this start uses: those whose URLs are in the environment, else servers of its own."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from chatproject.launcher.cassandra import RUN, CassandraNode
from chatproject.launcher.cassandra.jars import fetch_jars
from chatproject.launcher.cassandra.java import find_java
from chatproject.launcher.errors import refuse
from chatproject.launcher.postgres import PostgresServer, create_database
from chatproject.launcher.probes import is_cql, place, probe
from chatproject.launcher.server import Server
from chatproject.launcher.state import CHECKOUT, STATE, open_log
from chatproject.launcher.valkey import ValkeyServer

DATABASE = "waypost"
MESSAGES_DATABASE = "waypost_messages"
PURPOSES = {
    "POSTGRES_URL": "accounts, devices, conversations, order",
    "MESSAGES_URL": "messages",
    "SCYLLADB_URL": "messages",
    "REDIS_URL": "codes, limits, hints",
}


class Stores:
    """The stores of one start: `servers` are ours and must run before `open` is called."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """LauncherError for a URL that leads nowhere, and for a server that cannot be had here."""
        self.urls = given_urls(environment)
        self.products = {
            variable: probe(_given_name(variable, environment), url) for variable, url in self.urls.items()
        }
        self.own: dict[str, Server] = {}
        if "POSTGRES_URL" not in self.urls:
            self.own["POSTGRES_URL"] = PostgresServer(STATE / "postgres", log=open_log("postgres"))
        if "REDIS_URL" not in self.urls:
            self.own["REDIS_URL"] = ValkeyServer(STATE / "valkey", log=open_log("valkey"))
        if wants_cassandra(environment) and "SCYLLADB_URL" not in self.urls:
            self.own["SCYLLADB_URL"] = _cassandra()

    @property
    def servers(self) -> list[Server]:
        return list(self.own.values())

    def open(self) -> dict[str, str]:
        """Makes the databases that are missing; returns the environment that leads the application to its stores."""
        for variable, server in self.own.items():
            self.urls[variable] = server.create_database(DATABASE) if isinstance(server, PostgresServer) else server.url
            self.products[variable] = f"{server.name} {server.version}"
        if not self.urls.keys() & {"SCYLLADB_URL", "MESSAGES_URL"}:
            self.urls["MESSAGES_URL"] = self._messages_beside()
            self.products["MESSAGES_URL"] = self.products["POSTGRES_URL"]
        return self.urls

    def _messages_beside(self) -> str:
        postgres = self.own.get("POSTGRES_URL")
        if isinstance(postgres, PostgresServer):
            return postgres.create_database(MESSAGES_DATABASE)
        return _messages_database(self.urls["POSTGRES_URL"])

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """What runs, for what, and where."""
        for variable, purpose in PURPOSES.items():
            if url := self.urls.get(variable):
                server = self.own.get(variable)
                yield self.products[variable], purpose, _shown(server.data) if server else place(url)


def given_urls(environment: Mapping[str, str]) -> dict[str, str]:
    """The URLs that were given, under the names the application knows: the newer name beats the older one."""
    urls = {
        "POSTGRES_URL": environment.get("POSTGRES_URL") or environment.get("DATABASE_URL"),
        "REDIS_URL": environment.get("REDIS_URL"),
    }
    messages = environment.get("SCYLLADB_URL") or (
        "" if wants_cassandra(environment) else environment.get("MESSAGES_URL")
    )
    if messages:
        urls["SCYLLADB_URL" if is_cql(messages) else "MESSAGES_URL"] = messages
    return {variable: url for variable, url in urls.items() if url}


def _given_name(variable: str, environment: Mapping[str, str]) -> str:
    """The name under which a person gave this URL."""
    legacy = variable == "POSTGRES_URL" and not environment.get("POSTGRES_URL")
    return "DATABASE_URL" if legacy else variable


def wants_cassandra(environment: Mapping[str, str]) -> bool:
    """Whether messages are to be kept in a Cassandra of our own."""
    engine = environment.get("MESSAGES", "") or "postgresql"
    if engine not in {"postgresql", "cassandra"}:
        refuse(f"MESSAGES={engine} is not known: postgresql or cassandra.")
    return engine == "cassandra"


def _shown(data: Path) -> str:
    return str(data.relative_to(CHECKOUT)) if data.is_relative_to(CHECKOUT) else str(data)


def _cassandra() -> CassandraNode:
    fetch_jars()
    find_java()
    return CassandraNode(STATE / "cassandra", profile=RUN, log=open_log("cassandra"))


def _messages_database(postgres_url: str) -> str:
    """The URL of `<name>_messages` on the same server (as in `databases.messages_beside`), which is made if this user may."""
    parts = urlsplit(postgres_url)
    name = f"{parts.path.strip('/')}_messages"
    url = urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, parts.fragment))
    try:
        create_database(postgres_url, name)
    except psycopg.Error:
        refuse(
            f"The database {name} is missing and cannot be made here: create it, or set MESSAGES_URL or SCYLLADB_URL."
        )
    probe("MESSAGES_URL", url)
    return url
