"""`sync_cassandra`, which the engine calls for a test keyspace: the same as `migrate`."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Brings the message cluster's keyspace to the newest CQL migration."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default="messages", help="The alias of the keyspace.")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", database=options["database"], verbosity=options["verbosity"])
