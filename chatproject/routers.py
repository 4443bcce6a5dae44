"""Which database each app's tables live in, and what happens to a query that asks the wrong one: it fails."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db import DatabaseError
from django.db.models import Model

HOMES = {"messaging": "messages"}
ELSEWHERE = "default"


def home(app_label: str) -> str:
    """The alias an app's tables live in."""
    return HOMES.get(app_label, ELSEWHERE)


class DatabaseRouter:
    """Each app in its home; relations and migrations across are refused."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return home(model._meta.app_label)

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return home(model._meta.app_label)

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        return home(one._meta.app_label) == home(other._meta.app_label)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        """Cassandra's tables are made by CQL files, never by Django."""
        return home(app_label) == db and (db == ELSEWHERE or settings.MESSAGES_ENGINE == "postgresql")


class CrossesDatabases(DatabaseError):
    """A statement names a table that lives in another database."""


Execute = Callable[[str, Any, bool, dict[str, Any]], Any]


def refuse_foreign_tables(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001  (Django's signature)
    """An execute wrapper of a Django connection. Raises `CrossesDatabases` before the statement is sent.

    Where both databases are one server's, or one database, such a statement would work by chance.
    """
    alias = context["connection"].alias
    if found := _foreign_tables(alias).search(sql):
        message = f"{found[1]} does not live in the database {alias!r}"
        raise CrossesDatabases(message)
    return execute(sql, params, many, context)


@cache
def _foreign_tables(alias: str) -> re.Pattern[str]:
    models = apps.get_models(include_auto_created=True)
    names = [re.escape(model._meta.db_table) for model in models if home(model._meta.app_label) != alias]
    # Names stand bare or quoted, never behind a dot (a column) and never in a text.
    return re.compile(rf"(?<![\w'])({'|'.join(names)})(?![\w'])")


def guard(connection: Any, **signal: Any) -> None:
    """Put the guard on a connection that was just opened."""
    del signal
    if refuse_foreign_tables not in connection.execute_wrappers:
        connection.execute_wrappers.append(refuse_foreign_tables)


def no_relation_across(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[CheckMessage]:
    """A system check: no model points at one in another database."""
    del options
    labels = {config.label for config in app_configs} if app_configs else None
    models = [
        model
        for model in apps.get_models(include_auto_created=True)
        if labels is None or model._meta.app_label in labels
    ]
    return [
        Error(f"{field} points into another database.", obj=model, id="chatproject.E001")
        for model in models
        for field in model._meta.get_fields()
        if field.is_relation
        and isinstance(field.related_model, type)
        and home(field.related_model._meta.app_label) != home(model._meta.app_label)
    ]
