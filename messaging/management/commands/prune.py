"""`manage.py prune`: one round of pruning, now."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import postgresql
from accounts.leases import LeaseLost
from accounts.wire.refusals import StorageUnavailable
from messaging import pruning
from messaging.store import close_message_store, message_store

_WHY_NOT: dict[type[Exception], str] = {
    pruning.AtWork: "Another process is pruning.",
    LeaseLost: "Another process has taken over.",
    pruning.ClocksDisagree: "PostgreSQL's clock and this machine's are more than an hour apart: nothing was removed.",
    StorageUnavailable: "A store is not available.",
}


class Command(BaseCommand):
    help = "Removes what nobody can ask for any more, a little at a time. Exit code 0 after a whole round."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(self._prune())
        except tuple(_WHY_NOT) as failure:
            raise CommandError(_WHY_NOT[type(failure)]) from failure

    async def _prune(self) -> None:
        try:
            async for name, count in pruning.prune(message_store()):
                self.stdout.write(f"  {count:>10,} {name}")
        finally:
            await close_message_store()
            await postgresql.close_pools()
