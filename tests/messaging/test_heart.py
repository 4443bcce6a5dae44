"""The heart: a PostgreSQL that is not the one the message store knows is not written to."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connection

from accounts import lineage_guard, postgresql
from accounts.lineage import Mark
from accounts.lineage_guard import guard
from accounts.wire.refusals import StorageUnavailable
from chatproject import health
from conversations import log
from conversations.sends import Sent
from devices.models import OneTimePrekey
from messaging.condition import POSTGRESQL, Condition
from messaging.envelopes import Heartbeat
from messaging.heart import Heart, Misplaced, heartbeat_of
from messaging.store import close_message_store, message_store
from messaging.store.memory import MemoryStore
from messaging.store.protocol import StoreUnavailable
from tests.cast import Answer, Installation
from tests.conversations_of import direct, send

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "messages"]),
    pytest.mark.usefixtures("hot_road"),
]


class Away(MemoryStore):
    """A store that does not answer for a while."""

    away = False

    async def heartbeat(self) -> Heartbeat | None:
        if self.away:
            raise StoreUnavailable
        return await super().heartbeat()


@pytest.fixture
async def store() -> AsyncIterator[Away]:
    yield Away()
    guard.rest()


@pytest.fixture
def heart(store: Away) -> Heart:
    return Heart(store, local_dc="dc1")


async def now() -> Mark:
    async with postgresql.connection() as conn:
        return (await lineage_guard.read(conn))[0]


@sync_to_async
def set_beat(beat: int, *, run: str = "") -> None:
    """As a restore to an earlier state does."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_beat SET beat = %s, compared_run = %s", [beat, run])


async def test_the_first_start_makes_the_store_know_its_postgresql(heart: Heart, store: Away) -> None:
    await heart.start()
    mark = await now()
    assert await store.heartbeat() == Heartbeat(mark.system_identifier, mark.timeline, mark.era, mark.beat, "dc1")
    guard.require()


async def test_every_beat_is_counted_by_postgresql_first(heart: Heart, store: Away) -> None:
    await heart.start()
    first = await store.heartbeat()
    await heart.beat()
    second = await store.heartbeat()
    assert first
    assert second
    assert second.beat == first.beat + 1 == (await now()).beat


async def test_two_processes_beat_for_one_store(heart: Heart, store: Away) -> None:
    await heart.start()
    other = Heart(store, local_dc="dc1")
    for _ in range(5):
        await other.beat()
        await heart.beat()
    assert guard.complaint is None


async def test_a_postgresql_that_has_gone_back_refuses_to_start_in_one_sentence(heart: Heart, store: Away) -> None:
    await heart.start()
    await heart.beat()
    await set_beat((await now()).beat - 1)
    with pytest.raises(Misplaced, match=r"has gone back.*manage.py accept_restore"):
        await Heart(store, local_dc="dc1").start()


async def test_another_cluster_refuses_to_start(heart: Heart, store: Away) -> None:
    mark = await now()
    await store.beat(Heartbeat(mark.system_identifier + 1, mark.timeline, mark.era, mark.beat, "dc1"), now_ms=1)
    with pytest.raises(Misplaced, match="another database cluster"):
        await heart.start()


async def test_another_data_centre_refuses_to_start(heart: Heart, store: Away) -> None:
    await heart.start()
    with pytest.raises(Misplaced, match="data centre 'dc1', not 'dc2'"):
        await Heart(store, local_dc="dc2").start()


async def test_a_running_process_that_notices_it_appends_nothing_until_it_is_right_again(
    heart: Heart, store: Away, alice_phone: Installation, bob_phone: Installation
) -> None:
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    await heart.start()
    await heart.beat()
    beat = (await now()).beat
    await set_beat(beat - 1)
    await heart.beat()
    assert guard.complaint
    refused = await log.append([send(conversation, alice_phone, [bob_phone])])
    assert [getattr(outcome, "code", None) for outcome in refused.outcomes] == ["STORAGE_UNAVAILABLE"]
    assert await store.heartbeat() is not None
    await set_beat(beat)
    await heart.beat()
    accepted = await log.append([send(conversation, alice_phone, [bob_phone])])
    assert [type(outcome) for outcome in accepted.outcomes] == [Sent]


async def test_a_process_that_was_stopped_while_postgresql_was_restored_appends_nothing_before_it_has_compared(
    heart: Heart, store: Away, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await sync_to_async(direct)(alice_phone, bob_phone)
    monkeypatch.setattr(lineage_guard, "STOPPED_SECONDS", 0.2)
    await heart.start()
    mark = await now()
    # It stands still while others go on, and while a backup is restored that is newer than all it knows.
    await asyncio.sleep(0.3)
    latest = msgspec.structs.replace(mark, beat=mark.beat + 100)
    await store.beat(heartbeat_of(latest, "dc1"), now_ms=1)
    await set_beat(mark.beat + 50)
    refused = await log.append([send(conversation, alice_phone, [bob_phone])])
    assert [getattr(outcome, "code", None) for outcome in refused.outcomes] == ["STORAGE_UNAVAILABLE"]
    store.away = True
    await heart.beat()
    with pytest.raises(StorageUnavailable):
        guard.require()
    store.away = False
    await heart.beat()
    assert guard.complaint


async def test_a_process_that_was_stopped_goes_on_after_its_next_beat(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineage_guard, "STOPPED_SECONDS", 0.2)
    await heart.start()
    await asyncio.sleep(0.3)
    with pytest.raises(StorageUnavailable):
        guard.require()
    await heart.beat()
    guard.require()


async def test_a_new_connection_to_an_earlier_state_is_refused(heart: Heart) -> None:
    await heart.start()
    await heart.beat()
    await set_beat((await now()).beat - 1)
    async with await psycopg.AsyncConnection.connect(postgresql.conninfo("default"), autocommit=True) as conn:
        with pytest.raises(lineage_guard.Departed):
            await lineage_guard.check_connection(conn)
    assert guard.complaint


async def test_nothing_is_appended_before_the_store_has_answered_once(heart: Heart, store: Away) -> None:
    await set_beat((await now()).beat)
    store.away = True
    await heart.start()
    await heart.beat()
    with pytest.raises(Exception, match="not available"):
        guard.require()
    store.away = False
    await heart.beat()
    guard.require()


async def test_nobody_is_served_before_the_store_has_answered_once(
    heart: Heart, store: Away, alice_phone: Installation
) -> None:
    """It may be a backup: Alice would be told that her token is none, and would throw it away."""
    await set_beat((await now()).beat)
    store.away = True
    await heart.start()
    refused = await sync_to_async(profile)(alice_phone)
    assert (refused.status, refused.code) == (503, "STORAGE_UNAVAILABLE")
    assert health._finding(Condition(lambda: None), POSTGRESQL, {}).status == health.DOWN
    store.away = False
    await heart.beat()
    assert (await sync_to_async(profile)(alice_phone)).status == 200


def profile(phone: Installation) -> Answer:
    """As it is asked for on a connection of its own."""
    connection.close()
    try:
        return phone.http.get("profile")
    finally:
        connection.close()


async def test_a_process_that_starts_while_the_store_is_away_trusts_what_another_has_compared(
    heart: Heart, store: Away
) -> None:
    await heart.start()
    store.away = True
    await Heart(store, local_dc="dc1").start()
    guard.require()


async def test_the_operators_word_makes_positions_rise_and_empties_the_prekey_pools(
    alice_phone: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    store = message_store()
    heart = Heart(store, local_dc="")
    try:
        await heart.start()
        await heart.beat()
        assert await OneTimePrekey.objects.filter(device_id=alice_phone.device_id).aexists()
        known = await store.heartbeat()
        assert known
        await set_beat(known.beat - 1)
        with pytest.raises(Misplaced):
            await heart.start()
        await sync_to_async(call_command)("accept_restore", "--yes")
        assert "one-time prekeys were forgotten" in capsys.readouterr().out
        await heart.start()
        accepted = await store.heartbeat()
        assert accepted
        assert accepted.era > known.era
        assert (await now()).era == accepted.era
        assert (await OneTimePrekey.objects.acount()) == 0
        await sync_to_async(call_command)("accept_restore", "--yes")
        assert "nothing to accept" in capsys.readouterr().out
    finally:
        guard.rest()
        await sync_to_async(_as_never_restored)()
        await close_message_store()


def _as_never_restored() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_era SET added = 0, restored_era = 0")
