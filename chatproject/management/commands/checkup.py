"""`manage.py checkup`: whether this installation does what it is for, tried from the outside and looked at store by store."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chatproject.checkup import codes, stores
from chatproject.checkup.life import Life
from chatproject.checkup.server import Server
from chatproject.checkup.table import StepFailed, Table


class Command(BaseCommand):
    help = "Lives a short life against the running server and looks at each store. Exit code 0 when every step went well; leaves nothing behind."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--server", default=settings.CHECKUP_URL, help="where the server answers (default: %(default)s)"
        )
        parser.add_argument(
            "--without-sms",
            action="store_true",
            help="send no code, also where codes go to a file: register on this command's word",
        )

    def handle(self, *args: Any, server: str, without_sms: bool, **options: Any) -> None:
        if not server.startswith(("http://", "https://")):
            raise CommandError("--server must be a URL that begins with http:// or https://")
        table = Table(self.stdout.write)
        for name, check in stores.checks().items():
            _try(table, name, check)
        if table.failures:
            table.note("the scripted life", "not tried: a store is away")
        else:
            _try(table, "PostgreSQL and the message store belong together", stores.belong_together)
            self._live(table, server, without_sms=without_sms)
        if table.failures:
            raise CommandError("The checkup failed. " + "; ".join(table.failures))
        self.stdout.write("All is well.")

    def _live(self, table: Table, url: str, *, without_sms: bool) -> None:
        code_file = None if without_sms else codes.code_file()
        if code_file is None:
            table.note(
                "a code by SMS", "not tried: nobody here could read it; the people register on this command's word"
            )
        server = Server(url)
        life = Life(server, table, code_file)
        try:
            life.live()
        except StepFailed:
            table.note("the rest of the life", "not tried")
        finally:
            life.end()
            server.close()


def _try(table: Table, name: str, check: Callable[[], None]) -> None:
    try:
        table.step(name, check)
    except StepFailed:
        return
