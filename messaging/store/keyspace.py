"""A keyspace of a cluster, as one loop uses it: connected at first use, everything it says prepared."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cassandra import InvalidRequest, ReadFailure, RequestExecutionException, RequestValidationException
from cassandra.cluster import Cluster, NoHostAvailable
from cassandra.protocol import ErrorMessage
from cassandra.query import BoundStatement

from messaging.store import cql_statements
from messaging.store.bridge import AnotherAnswer, Bridge
from messaging.store.cql_batches import Rows, batches
from messaging.store.cql_timing import timed
from messaging.store.profiles import READS, WRITES, cluster_options, shut_down
from messaging.store.protocol import StoreUnavailable

# Seconds; the next call tries again.
CONNECT = {"connect_timeout": 2, "control_connection_timeout": 2}
# The driver plans its reconnections by the wall clock, in a thread that a bad moment may end: after a jump of the clock it can be deaf for an hour,
# or for good. Whoever has heard nothing for so long connects anew beside it.
DEAF_SECONDS = 15.0
# Whatever makes a cluster answer something else may last: not every question connects anew.
DISTRUST_SECONDS = 1.0
# A node says so: it is overloaded, or has too few replicas. Its driver hears well.
SPOKEN = (RequestExecutionException, RequestValidationException, ErrorMessage)


class RowPage(NamedTuple):
    """Rows, and where the next page begins (None: there is none)."""

    rows: list[tuple[Any, ...]]
    next_page: bytes | None


class Keyspace:
    """The statements of `cql_statements` by name. Whatever asks raises what `Bridge` does, and StoreUnavailable while nobody can connect."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` is what `profiles.cluster_config` returns."""
        self._config = config
        self._cluster: Any = None
        self._prepared: dict[str, Any] = {}
        self._bridge: Bridge | None = None
        self._opening: asyncio.Task[Bridge] | None = None
        self._leaving: set[asyncio.Future[None]] = set()
        self._renewed_at = 0.0
        self._distrusted_until = 0.0
        self._wanted = True

    async def open(self) -> None:
        """Connect, also after `close`."""
        self._wanted = True
        await self.opened()

    async def close(self) -> None:
        """Afterwards nothing of the driver runs."""
        self._wanted = False
        self._bridge = None
        self._dismiss()
        await asyncio.gather(*self._leaving)

    async def opened(self) -> Bridge:
        """The bridge, connected at first use. A connection that takes longer than its caller waits serves the next one."""
        if self._bridge is None:
            if asyncio.get_running_loop().time() < self._distrusted_until:
                message = "what answers is not trusted"
                raise StoreUnavailable(message)
            return await asyncio.shield(self._connecting())
        if self._bridge.silence > DEAF_SECONDS and self._may_renew():
            self._connecting()
        return self._bridge

    def bound(self, name: str, values: Sequence[Any]) -> BoundStatement:
        """A statement with its values. Only once it was `opened`."""
        statement = BoundStatement(self._prepared[name])
        statement.values = values
        return statement

    async def select(
        self, name: str, values: Sequence[Any], *, owner: Any, page: bytes | None = None, limit: int = 1000
    ) -> RowPage:
        """One page of rows. The statement's last column says whose they are; it is compared with `owner` and left out.

        Raises AnotherAnswer, ReadGivenUp.
        """
        bridge = await self.opened()
        statement = self.bound(name, values)
        statement.fetch_size = limit
        answer = await bridge.ask(statement, profile=READS, page=page)
        if answer.rows is None or any(row[-1] != owner for row in answer.rows):
            self._distrust(bridge)
            raise AnotherAnswer
        return RowPage([row[:-1] for row in answer.rows], answer.next_page)

    async def all(self, name: str, values: Sequence[Any], *, owner: Any) -> list[Any]:
        """All rows: to the end of the pages, because a page may be empty and not the last."""
        answer = await self.select(name, values, owner=owner)
        rows = answer.rows
        while answer.next_page:
            answer = await self.select(name, values, owner=owner, page=answer.next_page)
            rows += answer.rows
        return rows

    async def write(self, name: str, values: Sequence[Any]) -> None:
        """Return when the row is written."""
        bridge = await self.opened()
        await self._tell(bridge, [self.bound(name, values)])

    async def write_all(self, statements: Iterable[BoundStatement]) -> None:
        """Return when all of these are written, each by itself."""
        bridge = await self.opened()
        await self._tell(bridge, statements)

    async def write_rows(self, rows: Rows) -> None:
        """Return when all of these are written, in as few requests as may be."""
        bridge = await self.opened()
        await self._tell(bridge, batches(rows, across=self._every_node_has_every_row()))

    async def _tell(self, bridge: Bridge, statements: Iterable[Any]) -> None:
        try:
            await bridge.tell(statements, profile=WRITES)
        except AnotherAnswer:
            self._distrust(bridge)
            raise

    def _distrust(self, bridge: Bridge) -> None:
        """Its next answer may be another's too, and nothing may show it: whoever asks next connects anew."""
        if self._bridge is bridge:
            self._bridge = None
            self._distrusted_until = asyncio.get_running_loop().time() + DISTRUST_SECONDS
            self._dismiss()

    def _every_node_has_every_row(self) -> bool:
        nodes = self._cluster.metadata.all_hosts()
        return bool(sum(node.datacenter == self._config["dc"] for node in nodes) <= self._config["rf"])

    def _may_renew(self) -> bool:
        """Not in one go: a cluster that is away for an hour is not asked by one new driver after the other."""
        now = asyncio.get_running_loop().time()
        if self._opening is not None or now < self._renewed_at + DEAF_SECONDS:
            return False
        self._renewed_at = now
        return True

    def _connecting(self) -> "asyncio.Task[Bridge]":
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._forget_opening)
        return self._opening

    def _dismiss(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            self._shut_down(cluster)

    def _shut_down(self, cluster: Any) -> None:
        """The cluster's connections are closed, elsewhere: the driver may wait for what it has under way."""
        leaving = asyncio.get_running_loop().run_in_executor(None, shut_down, cluster)
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

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
        if self._bridge is not None and not self._bridge.silence:
            # No wait in between: the former bridge may be distrusted meanwhile.
            self._shut_down(cluster)
            return self._bridge
        self._dismiss()
        self._cluster, self._prepared = cluster, prepared
        self._bridge = Bridge(session, refusals=(InvalidRequest,), given_up=(ReadFailure,), is_heard=is_heard)
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


def is_heard(failure: Exception) -> bool:
    """Whether a node has answered with it, itself or as the last one that was tried."""
    tried = failure.errors if isinstance(failure, NoHostAvailable) else None
    causes = tried.values() if isinstance(tried, Mapping) else [failure]
    return any(isinstance(cause, SPOKEN) for cause in causes)
