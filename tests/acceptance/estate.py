"""A house whose three stores are servers of the test's own: each can be taken away and given back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from chatproject.launcher.cassandra import CassandraNode
from chatproject.launcher.postgres import PostgresServer
from chatproject.launcher.server import Server
from chatproject.launcher.valkey import ValkeyServer
from tests.acceptance.house import House, stopped

REDIS, MESSAGES, POSTGRESQL = "redis", "messages", "postgresql"
SMALL_OUTBOX = 40


class Estate:
    """The house and its stores."""

    def __init__(self, root: Path, layout: str) -> None:
        # The launcher is given the stores' URLs, so it starts none of its own.
        self.house = House(root, "postgresql")
        # It is killed: what it has committed has to be there again, or the workers take it for one that was put back.
        self.decides = PostgresServer(root / "decides")
        self.keeps = CassandraNode(root / "keeps") if layout == "cassandra" else PostgresServer(root / "keeps")
        self.hints = ValkeyServer(root / "hints")
        self.servers: dict[str, Server] = {POSTGRESQL: self.decides, MESSAGES: self.keeps, REDIS: self.hints}

    def start(self) -> None:
        for server in self.servers.values():
            server.start()
        keeps = self.keeps
        if isinstance(keeps, PostgresServer):
            kept_at = {"MESSAGES_URL": keeps.create_database("messages")}
        else:
            kept_at = {"SCYLLADB_URL": keeps.url}
        self.house.start(
            POSTGRES_URL=self.decides.create_database("waypost"),
            REDIS_URL=self.hints.url,
            OUTBOX_MAX_ROWS=str(SMALL_OUTBOX),
            # Limits that are off ask nobody, and these are to refuse when nobody can be asked.
            LIMIT_BUNDLES_PER_10_MIN="1000",
            LIMIT_LOOKUPS_PER_15_MIN="1000",
            **kept_at,
        )

    def stop(self) -> None:
        self.house.clean_up()
        for server in self.servers.values():
            server.stop()

    @contextmanager
    def away(self, store: str, fault: str) -> Iterator[None]:
        """The store is dead, or all of its processes stand still; afterwards it is there again."""
        server = self.servers[store]
        if fault == "stands still":
            with stopped(family(server)):
                yield
            return
        server.kill()
        try:
            yield
        finally:
            server.start()


def family(server: Server) -> list[psutil.Process]:
    """The server's process and those it has started."""
    parent = psutil.Process(server.pid)
    return [parent, *parent.children(recursive=True)]
