"""`manage.py codes`: whether one-time codes are sent, and where to; switches them off and on while everything runs."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounts import code_days, switches
from accounts.switches import Name

_LINE = "{:<8} {:>6} {:>9} {:>9}   {}"


class Command(BaseCommand):
    help = "Shows today's one-time codes by country. `off` stops sending them everywhere at once, `on` starts again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", nargs="?", choices=["status", "off", "on"], default="status")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if what != "status":
            switches.turn(Name.CODES, off=what == "off")
        self.stdout.write(_state())
        if what == "status":
            self._show_today()

    def _show_today(self) -> None:
        self.stdout.write(_LINE.format("country", "sent", "verified", "budget", "left of the budget, today (UTC)"))
        for day in code_days.today():
            left = max(day.budget - day.budgeted, 0) if day.budget else "no limit"
            self.stdout.write(_LINE.format(day.country, day.sent, day.verified, day.budget or "none", left))


def _state() -> str:
    if not settings.CODES_ENABLED:
        return "No codes are sent: CODES_ENABLED is off in this process's environment."
    return "No codes are sent: switched off." if switches.is_off(Name.CODES) else "Codes are sent."
