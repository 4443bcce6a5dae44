"""`flush`: Django's for PostgreSQL; for Cassandra all rows of the keyspace's tables."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import flush
from django.db import connections

from messaging.management.homes import is_cassandra


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        if is_cassandra(options["database"]):
            self._flush_keyspace(options)
        else:
            super().handle(**options)

    def _flush_keyspace(self, options: dict[str, Any]) -> None:
        from messaging.cql import commands  # noqa: PLC0415  (no driver without Cassandra)
        from messaging.cql.runner import MigrationError  # noqa: PLC0415

        database = connections[options["database"]].settings_dict
        question = f"This destroys all messages in the keyspace {database['NAME']}. Type 'yes' to continue: "
        if options["interactive"] and input(question) != "yes":
            self.stdout.write("Flush cancelled.")
            return
        try:
            commands.empty(database)
        except MigrationError as failure:
            raise CommandError(str(failure)) from failure
