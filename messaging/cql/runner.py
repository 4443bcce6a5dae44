"""Applies the numbered CQL files to a keyspace, once each, and says which are applied.

The record stands in the keyspace it describes (`schema_migrations`), so it is right after a restore and for a second cluster. A file is
marked running before its first statement and done after its last; one that was interrupted is resumed, and statements already in effect are
passed over.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from cassandra import DriverException
from cassandra.cluster import Cluster, NoHostAvailable

from messaging.cql.files import Migration, migrations
from messaging.store.cql_timing import timed
from messaging.store.profiles import SCHEMA, cluster_options, shut_down

APP = "messaging"
AGREEMENT_SECONDS = 60
RECORDS = "schema_migrations"

CREATE_RECORDS = """
CREATE TABLE IF NOT EXISTS {ks}.schema_migrations (
  app text, version int, name text, checksum text, state text, applied_ms bigint, PRIMARY KEY (app, version)
) WITH compaction = {{'class': 'LeveledCompactionStrategy'}}
"""
READ_RECORDS = "SELECT version, checksum, state FROM {ks}.schema_migrations WHERE app = ?"
WRITE_RECORD = """
INSERT INTO {ks}.schema_migrations (app, version, name, checksum, state, applied_ms) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?
"""
ALL = {"READ_RECORDS": READ_RECORDS, "WRITE_RECORD": WRITE_RECORD}


class MigrationError(Exception):
    """The keyspace cannot be brought to where the files are; the sentence says why."""


class Applied(NamedTuple):
    """What the keyspace's record says of one migration."""

    checksum: str
    state: str


class Keyspace:
    """A connected keyspace, for as long as a command runs."""

    def __init__(self, cluster: Any, session: Any, config: Mapping[str, Any]) -> None:
        self._cluster, self._session, self._config = cluster, session, config
        self.name: str = config["keyspace"]
        self._last_write = 0

    @property
    def _metadata(self) -> Any:
        return self._cluster.metadata.keyspaces.get(self.name)

    def create(self) -> None:
        """Create the keyspace and the table of records, where they are missing."""
        if self._metadata is None:
            replication = f"{{'class': 'NetworkTopologyStrategy', '{self._config['dc']}': {self._config['rf']}}}"
            self.change(f"CREATE KEYSPACE IF NOT EXISTS {self.name} WITH replication = {replication}")
        if RECORDS not in self._metadata.tables:
            self.change(CREATE_RECORDS.format(ks=self.name))

    def applied(self) -> dict[int, Applied]:
        """The record of each migration; nothing for a keyspace that is not there yet."""
        if self._metadata is None or RECORDS not in self._metadata.tables:
            return {}
        prepared = self._session.prepare(READ_RECORDS.format(ks=self.name))
        rows = self._session.execute(prepared, (APP,), execution_profile=SCHEMA)
        return {version: Applied(checksum, state) for version, checksum, state in rows}

    def record(self, migration: Migration, state: str) -> None:
        """Write the record of one migration."""
        self._last_write = max(time.time_ns() // 1000, self._last_write + 1)
        prepared = self._session.prepare(timed(WRITE_RECORD.format(ks=self.name)))
        named = (APP, migration.version, migration.name, migration.checksum)
        self._session.execute(
            prepared, (*named, state, self._last_write // 1000, self._last_write), execution_profile=SCHEMA
        )

    def apply(self, migration: Migration) -> None:
        """Bring one migration into effect, whatever part of it is so already."""
        self.record(migration, "running")
        for statement in migration.statements:
            if not in_effect(statement, self._metadata):
                self.change(statement.replace("{ks}", self.name).replace("{ttl_extra}", self._ttl_extra()))
        self.record(migration, "done")

    def truncate(self) -> None:
        """Remove all rows but the record of migrations."""
        for table in set(self._metadata.tables) - {RECORDS} if self._metadata else ():
            self._session.execute(f"TRUNCATE {self.name}.{table}", execution_profile=SCHEMA)

    def change(self, statement: str) -> None:
        """Execute a change of the schema; afterwards all nodes agree on it."""
        self._session.execute(timed(statement), execution_profile=SCHEMA)
        if not self._session.wait_for_schema_agreement(wait_time=AGREEMENT_SECONDS):
            message = f"The nodes do not agree on the schema after {AGREEMENT_SECONDS} s."
            raise MigrationError(message)
        self._cluster.refresh_schema_metadata()

    def _ttl_extra(self) -> str:
        """ScyllaDB alone: tombstones of rows with a TTL go after gc_grace, not after the next repair."""
        scylla = "scylla_tables" in self._cluster.metadata.keyspaces["system_schema"].tables
        return "\n  AND tombstone_gc = {'mode': 'timeout'}" if scylla else ""


@contextmanager
def connected(config: Mapping[str, Any]) -> Iterator[Keyspace]:
    """The keyspace `config` names. Raises `MigrationError` when the cluster cannot be reached or refuses a statement."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,47}", config["keyspace"]):
        message = f"{config['keyspace']} is no name for a keyspace: small letters, digits and _, at most 48."
        raise MigrationError(message)
    cluster = Cluster(list(config["hosts"]), **cluster_options(config))
    try:
        with _said_once():
            session = cluster.connect()
        yield Keyspace(cluster, session, config)
    except NoHostAvailable as failure:
        raise MigrationError(_why_nobody_answers(cluster, config)) from failure
    except DriverException as failure:
        message = f"The message cluster refused: {failure}"
        raise MigrationError(message) from failure
    finally:
        shut_down(cluster)


@contextmanager
def _said_once() -> Iterator[None]:
    """The driver logs a traceback for each node that does not answer; the exception says it in a sentence."""
    logger = logging.getLogger("cassandra")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _why_nobody_answers(cluster: Any, config: Mapping[str, Any]) -> str:
    known = sorted({host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter})
    if known and config["dc"] not in known:
        return f"The message cluster has no data centre {config['dc']}; it has {', '.join(known)}. Say which in the URL: ?dc=…"
    return f"No node of the message cluster answers at {', '.join(config['hosts'])}, port {config['port']}."


def pending(keyspace: Keyspace, wanted: Sequence[Migration]) -> list[Migration]:
    """The migrations still to do, an interrupted one included. Raises `MigrationError` for a file that changed after it was applied."""
    applied = keyspace.applied()
    for migration in wanted:
        known = applied.get(migration.version)
        if known and known.checksum != migration.checksum and known.state == "done":
            message = f"{migration.label} was changed after it was applied; write a new migration instead."
            raise MigrationError(message)
    return [one for one in wanted if one.version not in applied or applied[one.version].state != "done"]


def migrate(
    keyspace: Keyspace,
    *,
    target: int | None = None,
    fake: bool = False,
    say: Callable[[str], object] = lambda _: None,
    wanted: Sequence[Migration] | None = None,
) -> list[Migration]:
    """Bring the keyspace to the newest migration, or to number `target`; what was done. `fake` only records."""
    keyspace.create()
    todo = up_to(pending(keyspace, migrations() if wanted is None else wanted), target)
    for migration in todo:
        say(f"  Applying messaging.cql.{migration.label}...{' FAKED' if fake else ''}")
        if fake:
            keyspace.record(migration, "done")
        else:
            keyspace.apply(migration)
    return todo


def up_to(todo: Sequence[Migration], target: int | None) -> list[Migration]:
    """Those numbered `target` or lower; all of them without a target."""
    return [one for one in todo if target is None or one.version <= target]


_TABLE = r"\{ks\}\.(\w+)"
_CREATE = re.compile(rf"CREATE TABLE IF NOT EXISTS {_TABLE}", re.IGNORECASE)
_ADD = re.compile(rf"ALTER TABLE {_TABLE}\s+ADD\s+(\w+)\s", re.IGNORECASE)
_DROP = re.compile(rf"ALTER TABLE {_TABLE}\s+DROP\s+(\w+)", re.IGNORECASE)


def in_effect(statement: str, metadata: Any) -> bool:
    """Whether the keyspace is already as this statement would make it (ScyllaDB knows no ADD IF NOT EXISTS)."""
    if created := _CREATE.match(statement):
        return created[1] in metadata.tables
    if added := _ADD.match(statement):
        return added[2] in metadata.tables[added[1]].columns
    if dropped := _DROP.match(statement):
        return dropped[2] not in metadata.tables[dropped[1]].columns
    return False
