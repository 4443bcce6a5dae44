"""The operator's word after a restore: PostgreSQL as it is now is the one that decides, and nothing it decides may overwrite what the store has."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from django.db import connection, transaction

from accounts import clocks, usage
from accounts.lineage import Mark
from accounts.lineage_guard import BEAT, LINEAGE, RAISE_ERA
from accounts.security_events import Kind, note
from devices.eras import skip_device_ids
from devices.restoring import forget_one_time_prekeys
from messaging.envelopes import Heartbeat
from messaging.heart import complaint_about, heartbeat_of
from messaging.store import close_message_store, local_dc, message_store
from messaging.store.protocol import MessageStore

Result = TypeVar("Result")


class Finding(msgspec.Struct, frozen=True):
    """PostgreSQL as it is, the message store's last heartbeat, and what is wrong between them."""

    found: Mark
    last: Heartbeat | None
    complaint: str | None

    @property
    def is_restore(self) -> bool:
        """Whether PostgreSQL is another one than it was; else it is the data centre at most."""
        return self.last is not None and complaint_about(self.found, self.last, self.last.local_dc) is not None


def look() -> Finding:
    """What there is. Raises StoreUnavailable, and Django's OperationalError."""
    last = _of_store(lambda store: store.heartbeat())
    with connection.cursor() as cursor:
        cursor.execute(LINEAGE)
        found = Mark(*cursor.fetchone()[:4])
    return Finding(found, last, complaint_about(found, last, local_dc()))


def accept(finding: Finding) -> int:
    """From now on this PostgreSQL is the store's. How many one-time prekeys were forgotten. May be repeated after a failure.

    Positions are above every one the store has seen; each conversation looks for the store's newest entry before it goes on. Registration locks begin
    their days anew: what the backup says of the last use is old.
    """
    seen = finding.last or finding.found
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RAISE_ERA, [seen.era])
        forgotten = forget_one_time_prekeys()
        note(Kind.PREKEYS_DISCARDED, user_id=None, facts={"prekeys": forgotten, "why": "restore accepted"})
        skip_device_ids()
        usage.renew_locked()
    accept_data_centre(finding)
    return forgotten


def accept_data_centre(finding: Finding) -> None:
    """From now on this data centre is the store's, for all processes."""
    with connection.cursor() as cursor:
        cursor.execute(BEAT, [finding.last.beat if finding.last else 0])
        mark = Mark(*cursor.fetchone())
    _of_store(lambda store: store.beat(heartbeat_of(mark, local_dc()), now_ms=clocks.now_ms()))


def _of_store(question: Callable[[MessageStore], Awaitable[Result]]) -> Result:
    async def ask() -> Result:
        try:
            return await question(message_store())
        finally:
            await close_message_store()

    return asyncio.run(ask())
