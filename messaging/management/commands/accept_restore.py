"""`manage.py accept_restore`: the operator's word that PostgreSQL was restored, replaced or moved on purpose."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from messaging import restoring
from messaging.restoring import Finding
from messaging.store.protocol import StoreUnavailable

WHAT_HAPPENS = """
If you accept:
  - positions and numbers go on above everything the message store has: nothing in it is overwritten;
  - messages committed after the backup stay in the mailboxes of the devices they were for; in histories they are missing;
  - all one-time prekeys are forgotten, and asked for anew, because some may have been handed out after the backup;
  - registration locks last 7 days from now, because nobody knows when their accounts were last used;
  - what else happened after the backup is undone: registrations, revocations, blocks, members who left are there again.
No web process may run meanwhile."""


class Command(BaseCommand):
    help = "After PostgreSQL was restored or replaced: makes it the one that decides for the message store as it is."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--anyway",
            action="store_true",
            help="also where no sign of a restore is found, as after one with a promotion",
        )

    def handle(self, *args: Any, yes: bool, anyway: bool, **options: Any) -> None:
        try:
            finding = restoring.look()
            self._show(finding)
            if finding.complaint is None and not anyway:
                self.stdout.write("There is nothing to accept.")
                return
            self._accept(finding, asking=not yes, restore=finding.is_restore or anyway)
        except (StoreUnavailable, OperationalError) as failure:
            message = f"PostgreSQL and the message store must both answer: {type(failure).__name__}. Nothing was lost; try again."
            raise CommandError(message) from failure

    def _show(self, finding: Finding) -> None:
        for title, mark in (("PostgreSQL is now", finding.found), ("The message store knows", finding.last)):
            if mark is None:
                self.stdout.write(f"{title:<24} nothing yet")
            else:
                facts = f"cluster {mark.system_identifier}, timeline {mark.timeline}, era {mark.era}, beat {mark.beat}"
                self.stdout.write(f"{title:<24} {facts}")
        self.stdout.write(finding.complaint or "They belong together.")

    def _accept(self, finding: Finding, *, asking: bool, restore: bool) -> None:
        if restore:
            self.stdout.write(WHAT_HAPPENS)
        if asking and input("Type 'yes' to accept: ") != "yes":
            self.stdout.write("Nothing was changed.")
            return
        if restore:
            self.stdout.write(f"Accepted. {restoring.accept(finding)} one-time prekeys were forgotten.")
        else:
            restoring.accept_data_centre(finding)
            self.stdout.write("Accepted: this data centre from now on.")
