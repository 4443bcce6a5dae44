"""A PostgreSQL that is stopped for a while and goes on: its statements take too long, and afterwards everything is as before."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import psycopg
import pytest
from asgiref.sync import sync_to_async

from accounts import postgresql
from accounts.wire.refusals import StorageUnavailable
from conversations import log, outbox
from conversations.entries import LogEntry
from conversations.models import OutboxRow
from messaging import finisher as finishers
from messaging import runtime
from messaging.relay import Relay
from messaging.store.memory import MemoryStore
from tests.cast import Installation
from tests.conversations_of import direct, send
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]

SLOW = "SELECT pg_sleep(5), %s::text, %s::text, %s::text"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements may take a tenth of a second."""
    monkeypatch.setattr(postgresql, "SESSION_LIMITS", "-c statement_timeout=100")


async def test_a_statement_that_takes_too_long_is_a_store_that_is_not_available(impatient: None) -> None:
    with pytest.raises(StorageUnavailable):
        async with postgresql.connection() as conn:
            await conn.execute("SELECT pg_sleep(5)")
    with pytest.raises(psycopg.errors.QueryCanceled):
        async with postgresql.deciding() as conn:
            await conn.execute("SELECT pg_sleep(5)")


async def test_however_many_look_at_once_who_decides_finds_a_free_connection() -> None:
    looking = [asyncio.create_task(_look(1.0)) for _ in range(40)]
    await asyncio.sleep(0.2)
    async with postgresql.deciding() as conn:
        await conn.execute("SELECT 1")
    assert not any(look.done() for look in looking), "who decides waited for one that looks"
    ends = Counter(type(end) for end in await asyncio.gather(*looking, return_exceptions=True))
    assert ends[StorageUnavailable] > 0, "who waits too long for a turn is told so"
    assert ends.keys() == {StorageUnavailable, type(None)}


async def _look(seconds: float) -> None:
    async with postgresql.connection() as conn:
        await conn.execute("SELECT pg_sleep(%s)", [seconds])


async def test_a_server_that_is_read_only_is_not_available(db: None) -> None:
    with pytest.raises(StorageUnavailable):
        async with postgresql.connection() as conn:
            await conn.execute("BEGIN READ ONLY; SELECT nextval('conversations_message_serial')")


async def test_the_finisher_goes_on_after_an_entry_that_nobody_can_read(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    monkeypatch.setattr(runtime, "message_store", lambda: store)
    monkeypatch.setattr(finishers, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(log, "CLAIM_SECONDS", -1)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    await log.append([send(conversation, alice_phone, [bob_phone])])
    await sync_to_async(OutboxRow.objects.update)(bundle=b"unreadable")
    finisher = asyncio.create_task(runtime.Runtime().finisher.run())
    try:
        await asyncio.sleep(0.3)
        await log.append([send(conversation, alice_phone, [bob_phone])])
        await until(lambda: bool(store._mailboxes))
    finally:
        finisher.cancel()
        await asyncio.gather(finisher, return_exceptions=True)


async def test_the_finisher_outlives_a_stall(
    impatient: None, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    monkeypatch.setattr(runtime, "message_store", lambda: store)
    monkeypatch.setattr(finishers, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "CLAIM", SLOW)
    finisher = asyncio.create_task(runtime.Runtime().finisher.run())
    try:
        await asyncio.sleep(0.5)
        monkeypatch.undo()
        conversation = await sync_to_async(direct)(alice_phone, bob_phone)
        await log.append([send(conversation, alice_phone, [bob_phone])])
        await until(lambda: bool(store._mailboxes))
    finally:
        finisher.cancel()
        await asyncio.gather(finisher, return_exceptions=True)


async def test_a_deposit_that_never_ends_does_not_keep_the_finisher(
    alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(MemoryStore):
        asked = 0

        async def deposit(self, entries: Sequence[LogEntry]) -> None:
            self.asked += 1
            if self.asked == 1:
                await asyncio.Event().wait()
            await super().deposit(entries)

    store = Hanging()
    monkeypatch.setattr(finishers, "HOLD_SECONDS", 0.2)
    monkeypatch.setattr(finishers, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(log, "CLAIM_SECONDS", -1)
    monkeypatch.setattr(outbox, "LEASE_SECONDS", 0)
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    await log.append([send(conversation, alice_phone, [bob_phone])])
    finisher = finishers.Finisher(Relay(store, *[lambda _: None] * 3))
    running = asyncio.create_task(finisher.run())
    await until(lambda: bool(store._mailboxes))
    finisher.stop()
    await running
