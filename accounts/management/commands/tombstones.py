"""`manage.py tombstones`: accounts that were deleted, and the receipts of what was erased."""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Tombstone
from accounts.wire.scalars import write_time


class Command(BaseCommand):
    help = "Prints one JSON object for each deleted account that is remembered: when it was deleted, and what each store says of its erasure."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "user_id", nargs="?", type=UUID, help="only this account; exit code 1 if it has no tombstone"
        )

    def handle(self, *args: Any, user_id: UUID | None, **options: Any) -> None:
        found = Tombstone.objects.order_by("deleted_at", "user_id")
        shown = found if user_id is None else found.filter(pk=user_id)
        if user_id is not None and not shown:
            sentence = "There is no tombstone of this account."
            raise CommandError(sentence)
        for tombstone in shown.iterator():
            self.stdout.write(json.dumps(_shown(tombstone)))


def _shown(tombstone: Tombstone) -> dict[str, Any]:
    return {
        "user_id": str(tombstone.user_id),
        "deleted_at": write_time(tombstone.deleted_at),
        "tombstone_until": write_time(tombstone.until),
        "erased_at": write_time(tombstone.erased_at) if tombstone.erased_at else None,
        "receipts": tombstone.receipts,
    }
