"""How the Cassandra driver is set up: for the message store, for the migration runner and for Django's alias.

Profile and policy objects hold the state of one cluster: each use gets new ones.
"""

import threading
from collections.abc import Mapping
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import dict_factory, named_tuple_factory, tuple_factory

from messaging.store.streams import OwnStreams

WRITES, READS, SCHEMA = "writes", "reads", "schema"
REQUEST_SECONDS = 1.8


class IdempotentRetryPolicy(RetryPolicy):  # type: ignore[misc]  # the driver has no types
    """One more try, on another node where that may help: every statement of the store may be repeated."""

    def on_write_timeout(
        self, query: Any, consistency: int, write_type: int, required: int, received: int, retry_num: int
    ) -> Any:
        del query, write_type, required, received
        return (self.RETRY, consistency) if retry_num == 0 else (self.RETHROW, None)

    def on_request_error(self, query: Any, consistency: int, error: Exception, retry_num: int) -> Any:
        del query, error
        return (self.RETRY_NEXT_HOST, consistency) if retry_num == 0 else (self.RETHROW, None)


def execution_profiles(local_dc: str, default_rows: Any) -> dict[Any, Any]:
    """Profiles by name, all at LOCAL_QUORUM. The default one serves what the driver asks by itself."""
    return {
        EXEC_PROFILE_DEFAULT: _profile(local_dc, row_factory=default_rows, request_timeout=5.0),
        WRITES: _profile(local_dc),
        READS: _profile(local_dc, speculative_execution_policy=ConstantSpeculativeExecutionPolicy(0.1, 1)),
        SCHEMA: _profile(local_dc, request_timeout=60.0),
    }


def _profile(local_dc: str, **special: Any) -> Any:
    settings = {"row_factory": tuple_factory, "request_timeout": REQUEST_SECONDS} | special
    return ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=local_dc)),
        retry_policy=IdempotentRetryPolicy(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        **settings,
    )


def cluster_options(config: Mapping[str, Any], *, default_rows: Any = named_tuple_factory) -> dict[str, Any]:
    """Keyword arguments of `Cluster` for what `environment.cassandra` returns.

    The driver reads schema versions as named tuples: with others the nodes never seem to agree.
    """
    options = {
        "port": config["port"],
        "connection_class": OwnStreams,
        # Spoken by Cassandra 3.11 to 5 and by ScyllaDB: no round trip to agree on another, no checksum of each frame in Python.
        "protocol_version": 4,
        "execution_profiles": execution_profiles(config["dc"], default_rows),
        # The driver's own goes up to ten minutes.
        "reconnection_policy": ExponentialReconnectionPolicy(0.5, 3.0),
        "connect_timeout": 5,
        "control_connection_timeout": 5,
        "idle_heartbeat_interval": 15,
        "idle_heartbeat_timeout": 10,
        "executor_threads": 4,
        "compression": False,
    }
    if config["user"]:
        options["auth_provider"] = PlainTextAuthProvider(config["user"], config["password"])
    return options


def django_database(config: Mapping[str, Any]) -> dict[str, Any]:
    """The DATABASES entry for django-cassandra-engine.

    cqlengine wants rows as dictionaries. It connects at first use (else every command would need a server), and again after a failed first
    use. The level of consistency stands in the profiles alone, because the engine takes its own options out of this dictionary at the first
    connection.
    """
    return {
        "ENGINE": "django_cassandra_engine",
        "NAME": config["keyspace"],
        "HOST": ",".join(config["hosts"]),
        "PORT": str(config["port"]),
        "USER": config["user"],
        "PASSWORD": config["password"],
        "TEST": {"NAME": f"test_{config['keyspace']}", "DEPENDENCIES": []},
        "OPTIONS": {
            "replication": {"strategy_class": "NetworkTopologyStrategy", config["dc"]: config["rf"]},
            "connection": {"lazy_connect": True, "retry_connect": True}
            | cluster_options(config, default_rows=dict_factory),
        },
    }


def cluster_config(database: Mapping[str, Any]) -> dict[str, Any]:
    """What `django_database` was made from, read back from DATABASES."""
    ((dc, rf),) = (
        (name, value) for name, value in database["OPTIONS"]["replication"].items() if name != "strategy_class"
    )
    return {
        "hosts": tuple(database["HOST"].split(",")),
        "port": int(database["PORT"]),
        "keyspace": database["NAME"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "dc": dc,
        "rf": rf,
    }


def shut_down(cluster: Any) -> None:
    """Close the cluster's connections, and let the driver's thread end.

    The thread sleeps until its last timer, which may be a minute away though its request was answered long ago, and the interpreter waits
    five seconds for the thread: a timer of our own, a moment ahead, makes it look again.
    """
    cluster.shutdown()
    awake = threading.Event()
    cluster.connection_class.create_timer(0.01, awake.set)
    awake.wait(0.2)
