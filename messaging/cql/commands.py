"""What the management commands do to a keyspace."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

from messaging.cql import files, runner
from messaging.cql.lock import only_one
from messaging.store.profiles import cluster_config

MARKS = {"done": "X", "running": "-"}


class Request(NamedTuple):
    """What was asked of `migrate`."""

    target: int | None
    fake: bool
    lock: bool
    say: Callable[[str], object]
    warn: Callable[[str], object]


def migrate(alias: str, database: Mapping[str, Any], request: Request) -> None:
    """Bring the keyspace to `request.target`, alone."""
    config = cluster_config(database)
    if not request.lock:
        request.warn("Migrating without a lock: nobody else may migrate this keyspace now.")
    with only_one(alias, config["keyspace"]) if request.lock else nullcontext(), runner.connected(config) as keyspace:
        request.say(f"Migrating the keyspace {config['keyspace']}:")
        applied = runner.migrate(keyspace, target=request.target, fake=request.fake, say=request.say)
        if not applied:
            request.say("  No migrations to apply.")


def plan(database: Mapping[str, Any], request: Request, *, show: bool) -> list[files.Migration]:
    """What `migrate` would apply."""
    with runner.connected(cluster_config(database)) as keyspace:
        todo = runner.up_to(runner.pending(keyspace, files.migrations()), request.target)
    if show:
        request.say("Planned operations:")
        for line in [f"  messaging.cql.{one.label}" for one in todo] or ["  No planned migration operations."]:
            request.say(line)
    return todo


def show(database: Mapping[str, Any], say: Callable[[str], object]) -> None:
    """Every migration, marked X when applied and - when one was interrupted."""
    with runner.connected(cluster_config(database)) as keyspace:
        applied = keyspace.applied()
    say("messaging")
    for migration in files.migrations():
        record = applied.get(migration.version)
        say(f" [{MARKS[record.state] if record else ' '}] {migration.label}")


def empty(database: Mapping[str, Any]) -> None:
    """Remove all rows; the schema and its record stay."""
    with runner.connected(cluster_config(database)) as keyspace:
        keyspace.truncate()
