"""What becomes of the mailbox of a device that was unlinked."""

import time
from datetime import timedelta
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.utils import timezone

from accounts import chores
from accounts.wire.refusals import StorageUnavailable
from conversations.models import Gap
from devices.models import Device, OneTimePrekey
from messaging import runtime
from messaging.envelopes import Cursor, Mailbox
from messaging.purging import purging
from messaging.store.memory import MemoryStore
from messaging.store.protocol import StoreUnavailable
from tests.cast import Installation
from tests.messaging.store.people import Chat, drain, now_ms

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


class LostStore(MemoryStore):
    """A store that cannot be reached as often as it is told to be."""

    failures = 0

    async def purge(self, mailbox: Mailbox, *, from_ms: int, until_ms: int, size: int) -> bool:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable
        return await super().purge(mailbox, from_ms=from_ms, until_ms=until_ms, size=size)


@pytest.fixture
def store() -> LostStore:
    return LostStore()


async def free() -> None:
    """Nobody minds."""


async def purge(store: MemoryStore) -> int:
    return await chores.do(purging(store, time.time_ns() // 1_000_000), free)


def mailbox_of(device: Installation) -> Mailbox:
    return Mailbox(UUID(device.user_id), int(device.device_id))


@sync_to_async
def unlink(device: Installation, by: Installation, *, minutes_ago: int) -> None:
    assert by.http.delete(f"devices/{device.device_id}").status == 204
    then = timezone.now() - timedelta(minutes=minutes_ago)
    Device.objects.filter(pk=device.device_id).update(unlinked_at=then, created_at=then - timedelta(days=3))


async def waiting(store: MemoryStore, *devices: Installation) -> list[int]:
    """How many messages wait for each."""
    return [len(await drain(store, mailbox_of(device))) for device in devices]


@pytest.fixture
async def everybody(store: LostStore, alice_phone: Installation, alice_laptop: Installation) -> list[Installation]:
    """Alice's phone and laptop, two messages waiting for each."""
    devices = [alice_phone, alice_laptop]
    await store.deposit(Chat().entries(2, *map(mailbox_of, devices)))
    for device in devices:
        await store.move_cursor(mailbox_of(device), Cursor(1, 1), now_ms=now_ms())
    return devices


async def test_nothing_is_left_of_a_device_that_was_unlinked_an_hour_ago(
    store: LostStore, everybody: list[Installation], alice_and_bob: UUID
) -> None:
    phone, laptop = everybody
    await unlink(phone, laptop, minutes_ago=61)
    for device in everybody:
        place = {"conversation_id": alice_and_bob, "from_seq": 1, "to_seq": 2, "message_id": 1, "position": 1}
        await Gap.objects.acreate(device_id=device.device_id, kept_ms=1, **place)
    await OneTimePrekey.objects.acreate(device_id=phone.device_id, kind="curve", key_id=1, public_key=b"")
    assert await purge(store) == 1
    assert await waiting(store, phone, laptop) == [0, 2]
    assert await store.cursor(mailbox_of(phone)) == Cursor()
    assert await store.cursor(mailbox_of(laptop)) == Cursor(1, 1)
    assert [gap.device_id async for gap in Gap.objects.all()] == [int(laptop.device_id)]
    assert {key.device_id async for key in OneTimePrekey.objects.filter(device__user_id=phone.user_id)} == {
        int(laptop.device_id)
    }


async def test_sends_that_were_under_way_have_an_hour_to_land(store: LostStore, everybody: list[Installation]) -> None:
    phone, laptop = everybody
    await unlink(phone, laptop, minutes_ago=59)
    assert await purge(store) == 0
    assert await waiting(store, phone, laptop) == [2, 2]


async def test_it_is_done_once(store: LostStore, everybody: list[Installation]) -> None:
    phone, laptop = everybody
    await unlink(phone, laptop, minutes_ago=61)
    assert [await purge(store), await purge(store)] == [1, 0]
    assert (await Device.objects.aget(pk=phone.device_id)).purged_at is not None
    assert (await Device.objects.aget(pk=laptop.device_id)).purged_at is None


async def test_it_is_done_later_when_the_store_was_away(
    store: LostStore, everybody: list[Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "SLOW_REST_SECONDS", 0.0)
    phone, laptop = everybody
    await unlink(phone, laptop, minutes_ago=61)
    store.failures = chores.MOST_FAILURES
    with pytest.raises(StorageUnavailable):
        await purge(store)
    assert await waiting(store, phone, laptop) == [2, 2]
    assert await purge(store) == 1
    assert await waiting(store, phone, laptop) == [0, 2]


async def test_a_client_that_was_installed_again_keeps_what_is_sent_to_it(
    store: LostStore, everybody: list[Installation]
) -> None:
    phone, laptop = everybody
    again = await sync_to_async(phone.reinstalled().register)()
    assert again.device_id == phone.device_id
    assert await purge(store) == 0
    assert await waiting(store, phone, laptop) == [2, 2]


@pytest.mark.django_db(transaction=True, databases=["default", "messages"])
async def test_a_round_of_pruning_purges_a_long_mailbox_to_its_end(
    server: str, alice_phone: Installation, alice_laptop: Installation
) -> None:
    store = (await runtime.running()).store
    await store.deposit(Chat().entries(600, mailbox_of(alice_phone), mailbox_of(alice_laptop)))
    await unlink(alice_phone, alice_laptop, minutes_ago=61)
    await sync_to_async(call_command)("prune", verbosity=0)
    assert await drain(store, mailbox_of(alice_phone)) == []
    assert len(await drain(store, mailbox_of(alice_laptop))) == 600
