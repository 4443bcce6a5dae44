"""`manage.py finisher`: a finisher in a process of its own."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts import postgresql
from conversations import outbox
from conversations.entries import LogEntry
from messaging import hints
from messaging.finisher import Finisher
from messaging.pauses import end_all, for_ever
from messaging.push.gateways import configured_gateways
from messaging.push.pusher import Pusher
from messaging.relay import Relay
from messaging.store import close_message_store, message_store
from messaging.store.protocol import StoreUnavailable
from messaging.weights import Weights

logger = logging.getLogger("messaging.finisher")

LAST_HINTS_SECONDS = 5


class Command(BaseCommand):
    help = "Deposits what is committed and was left by the process that committed it, until SIGTERM or Ctrl-C. Any number may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--again",
            action="store_true",
            help="try what was set aside (it could not be read, or its store refused it) once more at once, and end",
        )

    def handle(self, *args: Any, again: bool, **options: Any) -> None:
        asyncio.run(_try_again(self) if again else serve())


async def _try_again(command: BaseCommand) -> None:
    try:
        count = await outbox.take_up_again()
        command.stdout.write(f"{count} messages that were set aside are tried again by the finishers now.")
    finally:
        await postgresql.close_pools()


async def serve() -> None:
    """Finish until told to stop; then end the batch that is under way, tell its recipients, and close everything."""
    store = message_store()
    weights = Weights(store)
    pusher = Pusher(store, configured_gateways())

    def deposited(entries: Sequence[LogEntry]) -> None:
        hints.publish(entries)
        weights.deposited(entries)
        pusher.deposited(entries)

    relay = Relay(store, deposited, hints.publish, hints.look)
    finisher = Finisher(relay)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finisher.stop)
    with contextlib.suppress(StoreUnavailable):
        await store.open()
    logger.info("a finisher is at work")
    work = {"the weighing of mailboxes": weights.run, "push": pusher.run}
    beside = [asyncio.create_task(for_ever(name, part)) for name, part in work.items()]
    try:
        await finisher.run()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_HINTS_SECONDS):
                await relay.drain()
                await weights.write(everything=True)
    finally:
        await end_all(set(beside))
        await pusher.close()
        await hints.layer().close()
        await close_message_store()
        await postgresql.close_pools()
    logger.info("the finisher has stopped")
