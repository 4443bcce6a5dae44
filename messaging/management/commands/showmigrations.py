"""`showmigrations`: Django's, limited to the apps that live in the database; the record of the keyspace for Cassandra."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import showmigrations
from django.db import connections

from messaging.management.homes import is_cassandra, only_apps_of, require_home


class Command(showmigrations.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        alias = options["database"]
        require_home(alias, options["app_label"])
        if is_cassandra(alias):
            self._show_keyspace(alias)
        else:
            with only_apps_of(alias):
                super().handle(*args, **options)

    def _show_keyspace(self, alias: str) -> None:
        from messaging.cql import commands  # noqa: PLC0415  (no driver without Cassandra)
        from messaging.cql.runner import MigrationError  # noqa: PLC0415

        try:
            commands.show(connections[alias].settings_dict, self.stdout.write)
        except MigrationError as failure:
            raise CommandError(str(failure)) from failure
