"""`manage.py first_admin`: somebody who can log in to the web admin of a new installation."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction

from accounts.models import User
from accounts.staff import SUPERUSER, appoint

# Country code 999 is assigned to nobody: no telephone has this number, so nobody can sign in with a code sent to it.
NOBODYS_NUMBER = "+999000000001"
_LOCK = 7161390


class Command(BaseCommand):
    help = "Makes the first administrator, with a one-time password, if there is no active one. Prints both once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--phone", default=NOBODYS_NUMBER, help="the phone number to log in with (default: one that nobody has)"
        )

    def handle(self, *args: Any, phone: str, **options: Any) -> None:
        password = _make(phone)
        if password is not None:
            self.stdout.write(
                f"  Admin login  {phone}   one-time password {password}   (shown this once; you choose your own when you log in)"
            )


@transaction.atomic
def _make(phone: str) -> str | None:
    """The one-time password, if an administrator was made. Two at once make one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if User.objects.filter(is_superuser=True, is_staff=True, is_active=True).exists():
        return None
    return appoint(phone, SUPERUSER)
