"""`manage.py vapid_key`: a new key for web push."""

from typing import Any

from django.core.management.base import BaseCommand

from chatproject import vapid


class Command(BaseCommand):
    help = "Prints a new VAPID_PRIVATE_KEY. Whoever replaces one in use ends every web push subscription."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(vapid.new_private_key())
