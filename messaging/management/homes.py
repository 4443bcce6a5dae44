"""Which apps a command may touch in a database: those whose home it is.

Django's own commands go through all apps for every alias; for a foreign one they make no table, and record it as applied.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections, router

CQL_APP = "messaging"


def is_cassandra(alias: str) -> bool:
    """Whether the alias is served by Cassandra or ScyllaDB."""
    engine: str = connections[alias].settings_dict["ENGINE"]
    return engine == "django_cassandra_engine"


def require_home(alias: str, app_labels: list[str]) -> None:
    """Raise CommandError for an installed app that lives in another database."""
    installed = {config.label for config in apps.get_app_configs()}
    for label in app_labels:
        if label in installed and not _lives_in(alias, label):
            message = f"{label} does not live in the database {alias!r}: nothing was done."
            raise CommandError(message)


def _lives_in(alias: str, label: str) -> bool:
    return label == CQL_APP if is_cassandra(alias) else router.allow_migrate(alias, label)


@contextmanager
def only_apps_of(alias: str) -> Iterator[None]:
    """Meanwhile apps that live elsewhere have no migrations: none is planned, shown or recorded."""
    before: Any = settings.MIGRATION_MODULES
    foreign = [config.label for config in apps.get_app_configs() if not router.allow_migrate(alias, config.label)]
    settings.MIGRATION_MODULES = {**before, **dict.fromkeys(foreign)} if isinstance(before, dict) else before
    try:
        yield
    finally:
        settings.MIGRATION_MODULES = before
