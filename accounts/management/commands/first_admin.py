"""`manage.py first_admin`: somebody who can log in to the web admin of a new installation."""

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction

from accounts.models import User
from accounts.phones import hash_phone

# Country code 999 is assigned to nobody: no telephone has this number, so nobody can sign in with a code sent to it.
NOBODYS_NUMBER = "+999000000001"
_LOCK = 7161390
_GROUPS = 6


class Command(BaseCommand):
    help = "Makes the first administrator, with a one-time password, if there is no active one. Prints both once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--phone", default=NOBODYS_NUMBER, help="the phone number to log in with (default: one that nobody has)"
        )

    def handle(self, *args: Any, phone: str, **options: Any) -> None:
        password = _one_time_password()
        if _make(phone, password):
            self.stdout.write(
                f"  Admin login  {phone}   one-time password {password}   (shown this once; you choose your own when you log in)"
            )


@transaction.atomic
def _make(phone: str, password: str) -> bool:
    """Whether an administrator was made. Two at once make one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if User.objects.filter(is_superuser=True, is_staff=True, is_active=True).exists():
        return False
    user = User.objects.filter(phone_hash=hash_phone(phone)).first() or User.objects.create_user(
        phone, display_name="Administrator"
    )
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.must_change_password = True
    user.save()
    return True


def _one_time_password() -> str:
    """96 bits, in groups that can be read out."""
    return "-".join(secrets.token_hex(2) for _ in range(_GROUPS))
