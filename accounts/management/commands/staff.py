"""`manage.py staff`: who may log in to the web admin."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import second_factor
from accounts.models import User
from accounts.phones import E164
from accounts.staff import ROLES, SUPERUSER, appoint, dismiss


class Command(BaseCommand):
    help = "Appoints and dismisses staff of the web admin, and lists it."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        appointing = verbs.add_parser(
            "appoint", help="give a role and a one-time password; the second step is set up anew"
        )
        appointing.add_argument("phone")
        appointing.add_argument("role", choices=ROLES)
        verbs.add_parser("dismiss", help="end the login; the person stays").add_argument("phone")
        verbs.add_parser("list", help="who there is")

    def handle(self, *args: Any, verb: str, phone: str = "", role: str = "", **options: Any) -> None:
        if phone and not E164.fullmatch(phone):
            raise CommandError("A phone number looks like +66812345678.")
        if verb == "appoint":
            self.stdout.write(f"  {role}  {phone}   one-time password {appoint(phone, role)}   (shown this once)")
        elif verb == "dismiss":
            if not dismiss(phone):
                raise CommandError("There is no staff of this number.")
            self.stdout.write("  Dismissed.")
        else:
            for user in User.objects.filter(is_staff=True).prefetch_related("groups").order_by("created_at"):
                self.stdout.write(_line(user))


def _line(user: User) -> str:
    role = SUPERUSER if user.is_superuser else ", ".join(group.name for group in user.groups.all()) or "no role"
    facts = [
        "active" if user.is_active else "blocked",
        "second step set up" if second_factor.is_set_up(user) else "no second step",
    ]
    return f"  {user.masked_phone}  {role}  {', '.join(facts)}  {user.pk}"
