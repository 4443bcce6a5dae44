"""A keyspace of a cluster, as one loop uses it: connected at first use, everything it says prepared."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cassandra import InvalidRequest
from cassandra.cluster import Cluster
from cassandra.query import BoundStatement

from messaging.store import cql_statements
from messaging.store.bridge import Answer, Bridge
from messaging.store.cql_batches import Rows, batches
from messaging.store.cql_timing import timed
from messaging.store.profiles import READS, WRITES, cluster_options, shut_down
from messaging.store.protocol import StoreUnavailable

# Seconds; the next call tries again.
CONNECT = {"connect_timeout": 2, "control_connection_timeout": 2}


class Keyspace:
    """The statements of `cql_statements` by name. Whatever asks raises what `Bridge` does, and StoreUnavailable while nobody can connect."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` is what `profiles.cluster_config` returns."""
        self._config = config
        self._cluster: Any = None
        self._prepared: dict[str, Any] = {}
        self._bridge: Bridge | None = None
        self._opening: asyncio.Task[Bridge] | None = None
        self._wanted = True

    async def open(self) -> None:
        """Connect, also after `close`."""
        self._wanted = True
        await self.opened()

    async def close(self) -> None:
        """Afterwards nothing of the driver runs."""
        self._wanted = False
        cluster, self._cluster, self._bridge = self._cluster, None, None
        if cluster is not None:
            await asyncio.to_thread(shut_down, cluster)

    async def opened(self) -> Bridge:
        """The bridge, connected at first use. A connection that takes longer than its caller waits serves the next one."""
        if self._bridge is not None:
            return self._bridge
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._forget_opening)
        return await asyncio.shield(self._opening)

    def bound(self, name: str, values: Sequence[Any]) -> BoundStatement:
        """A statement with its values. Only once it was `opened`."""
        statement = BoundStatement(self._prepared[name])
        statement.values = values
        return statement

    async def select(self, name: str, values: Sequence[Any], *, page: bytes | None = None, limit: int = 1000) -> Answer:
        """One page of rows."""
        bridge = await self.opened()
        statement = self.bound(name, values)
        statement.fetch_size = limit
        return await bridge.ask(statement, profile=READS, page=page)

    async def all(self, name: str, values: Sequence[Any]) -> list[Any]:
        """All rows: to the end of the pages, because a page may be empty and not the last."""
        answer = await self.select(name, values)
        rows = answer.rows
        while answer.next_page:
            answer = await self.select(name, values, page=answer.next_page)
            rows += answer.rows
        return rows

    async def write(self, name: str, values: Sequence[Any]) -> None:
        """Return when the row is written."""
        bridge = await self.opened()
        await bridge.ask(self.bound(name, values), profile=WRITES)

    async def write_all(self, statements: Iterable[BoundStatement]) -> None:
        """Return when all of these are written, each by itself."""
        bridge = await self.opened()
        await bridge.tell(statements, profile=WRITES)

    async def write_rows(self, rows: Rows) -> None:
        """Return when all of these are written, in as few requests as may be."""
        bridge = await self.opened()
        await bridge.tell(batches(rows, across=self._every_node_has_every_row()), profile=WRITES)

    def _every_node_has_every_row(self) -> bool:
        nodes = self._cluster.metadata.all_hosts()
        return bool(sum(node.datacenter == self._config["dc"] for node in nodes) <= self._config["rf"])

    async def _open(self) -> Bridge:
        try:
            cluster, session, prepared = await asyncio.to_thread(self._connected)
        except Exception as failure:
            message = f"Cassandra: {type(failure).__name__} while connecting"
            raise StoreUnavailable(message) from failure
        if not self._wanted:
            await asyncio.to_thread(shut_down, cluster)
            message = "closed while it was connecting"
            raise StoreUnavailable(message)
        self._cluster, self._prepared, self._bridge = cluster, prepared, Bridge(session, refusals=(InvalidRequest,))
        return self._bridge

    def _forget_opening(self, opening: "asyncio.Task[Bridge]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()

    def _connected(self) -> tuple[Any, Any, dict[str, Any]]:
        cluster = Cluster(list(self._config["hosts"]), **cluster_options(self._config) | CONNECT)
        try:
            session = cluster.connect()
            # Every write has its own time.
            session.use_client_timestamp = False
            prepared = {
                name: session.prepare(timed(text.format(ks=self._config["keyspace"])))
                for name, text in cql_statements.ALL.items()
            }
        except Exception:
            shut_down(cluster)
            raise
        for statement in prepared.values():
            statement.is_idempotent = True
        return cluster, session, prepared
