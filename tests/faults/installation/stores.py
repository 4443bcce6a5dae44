"""The stores of an installation, by layout: where they are, how they are reached, and how three Cassandra nodes become one cluster."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cassandra import OperationTimedOut
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import WhiteListRoundRobinPolicy

from chatproject.launcher.cassandra import TEST, CassandraNode, loopback_address
from chatproject.launcher.cassandra.node import CQL_PORT
from chatproject.launcher.errors import refuse
from chatproject.launcher.postgres import PostgresServer
from chatproject.launcher.server import Command, Server
from chatproject.launcher.valkey import ValkeyServer

POSTGRESQL, CASSANDRA, CASSANDRA3 = "postgresql", "cassandra", "cassandra3"
LAYOUTS = {POSTGRESQL: 0, CASSANDRA: 1, CASSANDRA3: 3}
KEYSPACE = "waypost_faults"
TOGETHER_SECONDS = 60.0
# A node's own address ends in 1, 2, 3; the one that drivers are told ends in 101, 102, 103.
TOLD = 100
# A full disk breaks what was being written into the mapped commit log, and a node refuses to start with that. Whatever was answered is synced and
# in front of it; what was not may be left out.
WITH_A_BROKEN_END = "-Dcassandra.commitlog.ignorereplayerrors=true"
# Elsewhere every node has a machine of its own. Here a node that starts has dozens of busy threads, and each of them would get as much of the two
# cores as PostgreSQL's only one: after an outage sends took seconds, and what was measured was the scheduler.
POLITENESS = 10


@dataclass(frozen=True)
class Stores:
    """Servers that are not running yet."""

    layout: str
    postgres: PostgresServer
    valkey: ValkeyServer
    nodes: Sequence[CassandraNode]

    @property
    def servers(self) -> list[Server]:
        return [self.postgres, self.valkey, *self.nodes]


class PoliteNode(CassandraNode):
    """A node that leaves the cores to whoever else wants them."""

    def prepare(self) -> Command:
        command = super().prepare()
        return replace(command, arguments=["nice", "-n", str(POLITENESS), *command.arguments])


def stores_in(directory: Path, layout: str, *, proxied: bool) -> Stores:
    """The servers of a layout. With `proxied`, the driver is told addresses at which proxies listen, also those of peers it learns of later."""
    first = loopback_address(directory / "cassandra-1")
    nodes = [_node(directory, number, first, proxied=proxied) for number in range(1, LAYOUTS[layout] + 1)]
    return Stores(layout, PostgresServer(directory / "postgres"), ValkeyServer(directory / "valkey"), nodes)


def _node(directory: Path, number: int, first: str, *, proxied: bool) -> CassandraNode:
    address = _with_end(first, number)
    profile = replace(TEST, java_options=(*TEST.java_options, WITH_A_BROKEN_END))
    if proxied:
        profile = replace(profile, settings=f"{profile.settings}broadcast_rpc_address: {told_address(address)}\n")
    node = PoliteNode(directory / f"cassandra-{number}", address=address, seed=first, profile=profile)
    node.name = f"Cassandra {number}"
    return node


def _with_end(address: str, end: int) -> str:
    return f"{address.rpartition('.')[0]}.{end}"


def told_address(address: str) -> str:
    """The address of a node as drivers are told it where a proxy stands in front."""
    return _with_end(address, TOLD + int(address.rpartition(".")[2]))


def cluster_url(nodes: Sequence[CassandraNode], *, proxied: bool) -> str:
    """How an application reaches the cluster; replicated to all of its nodes."""
    hosts = [told_address(node.address) if proxied else node.address for node in nodes]
    return f"cassandra://{','.join(f'{host}:{CQL_PORT}' for host in hosts)}/{KEYSPACE}?dc=dc1&rf={len(nodes)}"


def await_together(nodes: Sequence[CassandraNode], *, proxied: bool) -> None:
    """Return when each node knows all the others and they agree on the schema. LauncherError if that takes too long."""
    deadline = time.monotonic() + TOGETHER_SECONDS
    addresses = [told_address(node.address) if proxied else node.address for node in nodes]
    while not all(_knows(address, len(nodes)) for address in addresses):
        if time.monotonic() > deadline:
            refuse("The Cassandra nodes did not become a cluster.")
        time.sleep(0.3)


def _knows(address: str, count: int) -> bool:
    """Whether the node there knows so many nodes, itself included, all with its own schema."""
    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([address]), request_timeout=5.0)
    cluster = Cluster([address], protocol_version=4, execution_profiles={EXEC_PROFILE_DEFAULT: profile})
    try:
        session = cluster.connect()
        peers = list(session.execute("SELECT host_id, schema_version FROM system.peers"))
        own = session.execute("SELECT schema_version FROM system.local").one()
    except (NoHostAvailable, OperationTimedOut):
        return False
    finally:
        cluster.shutdown()
    return len(peers) == count - 1 and all(peer.host_id and peer.schema_version == own.schema_version for peer in peers)
