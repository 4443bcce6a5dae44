"""`migrate`: Django's for PostgreSQL, limited to the apps that live in the database; the numbered CQL files for Cassandra."""

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import connections

from messaging.management.homes import is_cassandra, only_apps_of, require_home


class Command(migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--no-lock",
            action="store_false",
            dest="lock",
            default=True,
            help="Cassandra: migrate without PostgreSQL's lock (nobody else may).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        alias = options["database"]
        require_home(alias, [options["app_label"]] if options["app_label"] else [])
        if is_cassandra(alias):
            self._migrate_keyspace(alias, options)
        else:
            with only_apps_of(alias):
                super().handle(*args, **options)

    def _migrate_keyspace(self, alias: str, options: dict[str, Any]) -> None:
        # Only here: an installation without Cassandra loads no driver.
        from messaging.cql import commands  # noqa: PLC0415
        from messaging.cql.runner import MigrationError  # noqa: PLC0415

        request = commands.Request(
            target=_number(options["migration_name"]),
            fake=options["fake"],
            lock=options["lock"],
            say=self.stdout.write if options["verbosity"] >= 1 else lambda _: None,
            warn=lambda text: self.stderr.write(self.style.WARNING(text)),
        )
        try:
            if options["plan"] or options["check_unapplied"]:
                todo = commands.plan(connections[alias].settings_dict, request, show=options["plan"])
                sys.exit(1 if todo and options["check_unapplied"] else 0)
            commands.migrate(alias, connections[alias].settings_dict, request)
        except MigrationError as failure:
            raise CommandError(str(failure)) from failure


def _number(name: str | None) -> int | None:
    if name is None:
        return None
    digits = name.split("_")[0]
    if not digits.isdigit() or int(digits) < 1:
        message = f"{name} is no CQL migration: give its number. They only go forward."
        raise CommandError(message)
    return int(digits)
