"""Deleting an account: what ends with the answer, what is erased after it, and what each store says of that."""

import concurrent.futures
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from accounts import chores, clocks, pins, staff, tombstones, valkey
from accounts.models import Pin, Preference, SecurityEvent, Tombstone, User
from accounts.security_events import Kind
from accounts.wire.refusals import InvalidToken, NotFound, StorageUnavailable
from conversations import founding, membership
from conversations.changes import Description
from conversations.founding import NewGroup
from conversations.models import Conversation, DeviceStart, Gap, Member
from devices import unlinking
from devices.current import CurrentDevice
from devices.deletion import delete_account
from devices.models import Device, Link, TokenPair
from messaging import errands
from messaging.envelopes import Mailbox
from messaging.store.memory import MemoryStore
from messaging.store.protocol import StoreUnavailable
from tests.cast import Answer, Http, Installation, JsonObject
from tests.clocks import set_process_clock
from tests.conversations_of import sender
from tests.linking import Linking, and_close, at_once, linked
from tests.messaging.conftest import Connect
from tests.messaging.store.people import Chat, drain
from tests.sockets import message

pytestmark = [pytest.mark.django_db(transaction=True, databases=["default", "messages"])]


class LostStore(MemoryStore):
    """A store that cannot be reached when it is told to be."""

    is_away = False

    async def purge(self, mailbox: Mailbox, *, from_ms: int, until_ms: int, size: int) -> bool:
        if self.is_away:
            raise StoreUnavailable
        return await super().purge(mailbox, from_ms=from_ms, until_ms=until_ms, size=size)


@pytest.fixture
def store(hot_road: None) -> LostStore:
    return LostStore()


def delete(phone: Installation, body: JsonObject | None = None) -> Answer:
    return phone.http.delete("account", body)


def mailbox_of(device: Installation) -> Mailbox:
    return Mailbox(UUID(device.user_id), int(device.device_id))


@sync_to_async
def tombstone_of(phone: Installation) -> Tombstone:
    return Tombstone.objects.get(pk=phone.user_id)


@sync_to_async
def an_hour_later(phone: Installation) -> None:
    """Nothing can be under way to the devices any more."""
    tombstone = Tombstone.objects.get(pk=phone.user_id)
    hour_ms = 61 * 60 * 1000
    tombstone.mailboxes = [[one, made - hour_ms, unlinked - hour_ms] for one, made, unlinked in tombstone.mailboxes]
    tombstone.look_at, tombstone.deleted_at = timezone.now(), tombstone.deleted_at - timedelta(minutes=61)
    tombstone.save()


async def erase(store: MemoryStore, phone: Installation) -> None:
    """What the errands do some seconds after the deletion."""
    long_ago = timezone.now() - timedelta(seconds=30)
    await sync_to_async(Tombstone.objects.filter(pk=phone.user_id).update)(deleted_at=long_ago, look_at=long_ago)
    await errands.run_once(store)


async def group(owner: Installation, *others: Installation) -> UUID:
    """A group of these, in which nothing was said."""
    wanted = NewGroup(Description(name="Weekend"), frozenset(UUID(other.user_id) for other in others))
    return await founding.found_group(sender(owner), wanted)


@sync_to_async
def roles(conversation_id: UUID) -> dict[str, str]:
    """Who is there, as what."""
    there = Member.objects.filter(conversation_id=conversation_id, left_seq=None)
    return {str(user_id): role for user_id, role in there.values_list("user_id", "role")}


@pytest.fixture
def carol_phone(db: None, services: None) -> Installation:
    return Installation(name="Carol's phone").register()


def test_the_account_is_unusable_with_the_answer(alice_phone: Installation, bob_phone: Installation) -> None:
    laptop = linked(alice_phone)
    assert alice_phone.http.patch("profile", {"display_name": "Alice", "username": "alice"}).status == 200
    former = User.objects.get(pk=alice_phone.user_id)
    assert bob_phone.http.get(f"users/{alice_phone.user_id}").body["display_name"] == "Alice"
    answer = delete(alice_phone)
    assert answer.status == 200
    assert answer.body.keys() == {"deleted_at", "tombstone_until"}
    tombstone = Tombstone.objects.get()
    assert tombstone.until - tombstone.deleted_at == timedelta(days=30)
    for device in (alice_phone, laptop):
        assert device.http.get("profile").code == "INVALID_TOKEN"
        assert device.http.post("auth/refresh", {"refresh_token": device.refresh_token}).code == "INVALID_TOKEN"
    assert delete(alice_phone).code == "INVALID_TOKEN"
    unknown = bob_phone.http.get("users/00000000-0000-4000-8000-000000000000")
    for path in (
        f"users/{alice_phone.user_id}",
        f"keys/{alice_phone.user_id}/*",
        f"relationships/{alice_phone.user_id}",
    ):
        gone = bob_phone.http.get(path)
        assert (gone.status, gone.body) == (404, unknown.body), path
    assert bob_phone.http.post("users/lookup", {"usernames": ["alice"]}).body["items"] == []
    row = User.objects.get(pk=alice_phone.user_id)
    assert (row.username, row.display_name, row.is_active, row.phone_number) == (None, "", False, "")
    assert bytes(row.phone_hash) != bytes(former.phone_hash)
    assert not row.has_usable_password()
    assert not TokenPair.objects.filter(device__user=row).exists()
    assert SecurityEvent.objects.filter(user_id=row.pk, kind=Kind.ACCOUNT_DELETED).count() == 1


def test_the_pin_is_asked_for(alice_phone: Installation) -> None:
    assert alice_phone.http.put("auth/pin", {"pin": "271828"}).status == 200
    for body in ({}, {"pin": "000000"}):
        refused = delete(alice_phone, dict(body))
        assert (refused.status, refused.code, refused.body["attempts_remaining"]) == (
            401,
            "UNAUTHORIZED",
            5 - len(body),
        )
    assert alice_phone.http.get("profile").status == 200
    assert delete(alice_phone, {"pin": "271828"}).status == 200


def test_staff_is_not_deleted_with_what_is_on_record_under_its_name(alice_phone: Installation) -> None:
    User.objects.filter(pk=alice_phone.user_id).update(is_staff=True)
    assert delete(alice_phone).code == "FORBIDDEN"
    assert alice_phone.http.get("profile").status == 200


def test_the_number_is_free_at_once_and_its_owner_somebody_new(alice_phone: Installation) -> None:
    assert delete(alice_phone).status == 200
    again = Installation(alice_phone.phone_number, "Alice's phone", device_uuid=alice_phone.device_uuid)
    asked = again.http.post("auth/request-otp", {"phone_number": again.phone_number})
    assert asked.status in (200, 429)
    valkey.client().flushdb()
    again.register()
    assert again.user_id != alice_phone.user_id
    assert again.device_id != alice_phone.device_id
    assert again.device_number == 1
    assert again.http.get("profile").body.get("display_name") is None


def test_of_two_deletions_at_once_one_is_answered(alice_phone: Installation) -> None:
    answers = at_once(4, lambda: delete(alice_phone))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]
    assert Tombstone.objects.count() == 1


def test_who_signs_in_while_the_account_is_being_deleted_gets_another_one(alice_phone: Installation) -> None:
    again = Installation(alice_phone.phone_number, "Alice's phone")
    valkey.client().flushdb()
    token = again.prove_number()
    body = {"registration_token": token, "device": again.device_input()}
    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        user = User.objects.select_for_update().get(pk=alice_phone.user_id)
        waiting = threads.submit(and_close, lambda: again.http.post("auth/register-device", body))
        concurrent.futures.wait([waiting], timeout=0.3)
        tombstones.bury(user, [])
        transaction.on_commit(lambda: again.signed_in(waiting.result().body))
    assert again.user_id not in ("", alice_phone.user_id)


def test_a_pin_that_was_changed_while_it_was_checked_deletes_nothing(
    alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = pins.check_pin

    def change_it_then(user_id: UUID, pin: str | None) -> str | None:
        current = really(user_id, pin)
        Pin.objects.update_or_create(user_id=user_id, defaults={"secret_hash": f"after {current}"})
        return current

    for body in ({}, {"pin": "271828"}):
        with monkeypatch.context() as patch:
            patch.setattr(pins, "check_pin", change_it_then)
            refused = delete(alice_phone, dict(body))
        assert (refused.status, refused.code, refused.body["attempts_remaining"]) == (401, "UNAUTHORIZED", 5)
        assert alice_phone.http.get("profile").status == 200
        Pin.objects.all().delete()
        assert alice_phone.http.put("auth/pin", {"pin": "271828"}).status == 200


def test_what_was_under_way_while_the_account_was_deleted_writes_nothing_behind_its_tombstone(
    alice_phone: Installation,
) -> None:
    laptop = linked(alice_phone)
    user_id, number = UUID(alice_phone.user_id), alice_phone.phone_number
    caller = CurrentDevice(user_id, int(alice_phone.device_id), 1, alice_phone.registration_id, is_primary=True)
    waiting = Linking(alice_phone, alice_phone.beside("Alice's tablet"))

    def by(phone: Installation) -> Http:
        return Http(phone.access_token)

    writers: list[Callable[[], object]] = [
        lambda: by(alice_phone).patch("profile", {"display_name": "Alice", "username": "alice"}).status,
        lambda: by(alice_phone).put("settings/theme", {"value": "dark"}).status,
        lambda: by(laptop).patch(f"devices/{laptop.device_id}", {"name": "Alice's own"}).status,
        lambda: by(alice_phone).post("devices/link", {}).status,
        lambda: by(alice_phone).put("auth/pin", {"pin": "271828"}).status,
        lambda: waiting.claim(Installation(alice_phone.phone_number, "Alice's tablet")).status,
        lambda: staff.appoint(number, staff.SUPPORT),
        lambda: unlinking.unblock_user(user_id),
    ]
    with ThreadPoolExecutor(len(writers)) as threads:
        with transaction.atomic():
            delete_account(caller, None)
            answers = [threads.submit(and_close, writer) for writer in writers]
            wait_until_locked_out(len(writers))
        statuses = [answer.result() for answer in answers[:6]]
        assert statuses == [401, 401, 404, 403, 403, 409]
        assert answers[6].result(), "the number is somebody else's by then"
        with pytest.raises(InvalidToken):
            answers[7].result()
    row = User.objects.get(pk=user_id)
    assert (row.username, row.display_name, row.is_active, row.is_staff) == (None, "", False, False)
    assert not Preference.objects.filter(user_id=user_id).exists()
    assert not Pin.objects.filter(user_id=user_id).exists()
    assert not Device.objects.filter(user_id=user_id, name="Alice's own").exists()
    assert not Link.objects.filter(user_id=user_id, state__in=(Link.State.NEW, Link.State.CLAIMED)).exists()


LOCKED_OUT = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_until_locked_out(count: int) -> None:
    """Return when so many wait for what the running transaction holds."""
    give_up = time.monotonic() + 10
    with connection.cursor() as cursor:
        while True:
            # A transaction looks once, unless it is told to look again.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(LOCKED_OUT)
            if cursor.fetchone()[0] >= count:
                return
            assert time.monotonic() < give_up
            time.sleep(0.01)


async def test_nothing_of_it_is_left_in_postgresql(
    store: LostStore, alice_phone: Installation, bob_phone: Installation, alice_and_bob: UUID
) -> None:
    await sync_to_async(fill)(alice_phone, bob_phone)
    both = await group(alice_phone, bob_phone)
    await sync_to_async(Gap.objects.create)(
        device_id=alice_phone.device_id, conversation_id=both, from_seq=1, to_seq=1, message_id=1, position=1, kept_ms=1
    )
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    await erase(store, alice_phone)
    assert await sync_to_async(mentions)(alice_phone) == {
        "SecurityEvent.user_id",
        "Tombstone.user_id",
        # What happened in conversations is their history: of somebody of whom nothing else is known.
        "Conversation.direct_low",
        "Conversation.direct_high",
        "Conversation.last_sender_user_id",
        "LedgerRow.sender_user_id",
    } - await sync_to_async(the_other_side)(alice_phone)
    for model in (DeviceStart, Gap):
        assert not await sync_to_async(model.objects.filter(device_id=alice_phone.device_id).exists)()
    rows = (await tombstone_of(alice_phone)).receipts["postgresql"]["rows"]
    for name in ("accounts.User", "accounts.Preference", "accounts.Relationship", "devices.Device", "devices.Link"):
        assert rows[name] >= 1, name
    assert await User.objects.acount() == 1


def fill(alice: Installation, bob: Installation) -> None:
    """Something in every table that may have something of a person."""
    Linking(alice)
    linked(alice)
    assert alice.http.put("settings/theme", {"value": "dark"}).status == 200
    assert alice.http.put("auth/pin", {"pin": "271828"}).status == 200
    assert alice.http.delete("auth/pin", {"current_pin": "271828"}).status == 204
    assert alice.http.put(f"relationships/{bob.user_id}", {"state": "friends"}).status == 200
    assert bob.http.put(f"relationships/{alice.user_id}", {"state": "friends"}).status == 200


def mentions(phone: Installation) -> set[str]:
    """The columns in which the person's id still stands, whichever tables there are."""
    return {f"{field.model.__name__}.{field.attname}" for field in columns() if is_in(field, phone.user_id)}


def columns() -> Iterator[Any]:
    """Every column of PostgreSQL that can hold a person's id."""
    for model in apps.get_models():
        if model._meta.app_label != "messaging":
            yield from (field for field in model._meta.concrete_fields if target(field) == "UUIDField")


def target(field: Any) -> str:
    return str((field.target_field if field.remote_field else field).get_internal_type())


def is_in(field: Any, user_id: str) -> bool:
    return bool(field.model._default_manager.filter(**{field.attname: user_id}).exists())


def the_other_side(phone: Installation) -> set[str]:
    """Of the two sides of a direct conversation a person is one."""
    low = Conversation.objects.filter(direct_low=phone.user_id).exists()
    return {"Conversation.direct_high" if low else "Conversation.direct_low"}


async def test_the_others_hear_that_she_has_left_and_no_group_is_without_an_owner(
    store: LostStore, alice_phone: Installation, bob_phone: Installation, carol_phone: Installation
) -> None:
    owned = await group(alice_phone, bob_phone, carol_phone)
    await membership.give_role(sender(alice_phone), owned, UUID(carol_phone.user_id), "admin")
    plain = await group(alice_phone, bob_phone)
    others = await group(bob_phone, alice_phone)
    alone = await group(alice_phone)
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    await erase(store, alice_phone)
    assert await roles(owned) == {bob_phone.user_id: "member", carol_phone.user_id: "owner"}
    assert await roles(plain) == {bob_phone.user_id: "owner"}
    assert await roles(others) == {bob_phone.user_id: "owner"}
    assert await roles(alone) == {}
    assert (await Conversation.objects.aget(pk=alone)).archived_at is not None
    assert (await Conversation.objects.aget(pk=plain)).archived_at is None


async def test_the_last_admin_of_a_group_without_an_owner_is_followed_by_who_is_there_longest(
    store: LostStore, alice_phone: Installation, bob_phone: Installation, carol_phone: Installation
) -> None:
    there = await group(carol_phone, alice_phone)
    await membership.give_role(sender(carol_phone), there, UUID(alice_phone.user_id), "admin")
    await membership.add(sender(carol_phone), there, [UUID(bob_phone.user_id)])
    await membership.leave(sender(carol_phone), there)
    await membership.add(sender(alice_phone), there, [UUID(carol_phone.user_id)])
    assert await roles(there) == {
        alice_phone.user_id: "admin",
        bob_phone.user_id: "member",
        carol_phone.user_id: "member",
    }
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    await erase(store, alice_phone)
    assert await roles(there) == {bob_phone.user_id: "admin", carol_phone.user_id: "member"}


async def test_nobody_brings_a_deleted_account_into_a_conversation(
    store: LostStore, alice_phone: Installation, bob_phone: Installation, alice_and_bob: UUID
) -> None:
    there, alice = await group(bob_phone), UUID(alice_phone.user_id)
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    for is_erased in (False, True):
        with pytest.raises(NotFound):
            await membership.add(sender(bob_phone), there, [alice])
        with pytest.raises(NotFound):
            await group(bob_phone, alice_phone)
        if is_erased:
            with pytest.raises(NotFound):
                await founding.open_direct(sender(bob_phone), alice)
        await erase(store, alice_phone)


async def test_the_row_stays_until_all_that_was_under_way_has_been_answered(
    store: LostStore, alice_phone: Installation, bob_phone: Installation
) -> None:
    there = await group(alice_phone, bob_phone)
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    await errands.run_once(store)
    assert await roles(there) == {bob_phone.user_id: "owner"}
    assert await User.objects.filter(pk=alice_phone.user_id).aexists()
    assert not (await tombstone_of(alice_phone)).receipts
    await erase(store, alice_phone)
    assert not await User.objects.filter(pk=alice_phone.user_id).aexists()
    with pytest.raises(InvalidToken):
        await sync_to_async(unlinking.block_user)(UUID(alice_phone.user_id))


async def test_mailboxes_are_purged_an_hour_later_and_each_store_has_its_receipt(
    store: LostStore, alice_phone: Installation, bob_phone: Installation
) -> None:
    laptop = await sync_to_async(linked)(alice_phone)
    mailboxes = [mailbox_of(alice_phone), mailbox_of(laptop)]
    await store.deposit(Chat().entries(3, *mailboxes, mailbox_of(bob_phone)))
    await sync_to_async(valkey.client().set)(f"test:{alice_phone.user_id}:x", "1")
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    await erase(store, alice_phone)
    tombstone = await tombstone_of(alice_phone)
    assert (tombstone.receipts.keys(), tombstone.erased_at) == ({"postgresql"}, None)
    assert not await sync_to_async(lambda: list(valkey.client().scan_iter(f"*{alice_phone.user_id}*")))()
    assert tombstone.look_at > timezone.now() + timedelta(minutes=50), "nothing to do before"
    assert [len(await drain(store, mailbox)) for mailbox in mailboxes] == [3, 3]

    # A process that was stopped meanwhile tells that she is there.
    await sync_to_async(valkey.client().set)(f"test:{alice_phone.user_id}:x", "1")
    await an_hour_later(alice_phone)
    store.is_away = True
    await errands.run_once(store)
    assert (await tombstone_of(alice_phone)).erased_at is None
    store.is_away = False
    await look_now(alice_phone)
    await errands.run_once(store)
    erased = await tombstone_of(alice_phone)
    assert [len(await drain(store, mailbox)) for mailbox in (*mailboxes, mailbox_of(bob_phone))] == [0, 0, 3]
    assert erased.receipts.keys() == set(tombstones.STORES)
    assert (erased.receipts["messages"]["mailboxes"], erased.receipts["valkey"]["keys"]) == (2, 1)
    assert not await sync_to_async(lambda: list(valkey.client().scan_iter(f"*{alice_phone.user_id}*")))()
    assert erased.erased_at is not None
    assert {name: erased.receipts[name] for name in tombstone.receipts} == tombstone.receipts


async def test_a_conversation_that_somebody_holds_holds_up_that_receipt_alone(
    store: LostStore, alice_phone: Installation, bob_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = await group(alice_phone, bob_phone), await group(alice_phone, bob_phone)
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    leave = membership.leave_for_good

    async def hold(user_id: UUID, conversation_id: UUID) -> None:
        if conversation_id == held:
            raise StorageUnavailable
        await leave(user_id, conversation_id)

    with monkeypatch.context() as patch:
        patch.setattr(membership, "leave_for_good", hold)
        await erase(store, alice_phone)
    assert not (await tombstone_of(alice_phone)).receipts
    assert len(await roles(held)) == 2
    assert await roles(free) == {bob_phone.user_id: "owner"}
    await look_now(alice_phone)
    await errands.run_once(store)
    assert (await tombstone_of(alice_phone)).receipts.keys() == {"postgresql"}
    assert await roles(held) == {bob_phone.user_id: "owner"}


async def test_valkey_that_is_away_holds_up_its_receipt_alone(
    store: LostStore, alice_phone: Installation, settings: Any
) -> None:
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    well, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1"
    await erase(store, alice_phone)
    soon = (await tombstone_of(alice_phone)).look_at - timezone.now()
    assert soon < timedelta(minutes=1), "it was not deleted once"
    await an_hour_later(alice_phone)
    await errands.run_once(store)
    assert (await tombstone_of(alice_phone)).receipts.keys() == {"postgresql", "messages"}
    settings.REDIS_URL = well
    await look_now(alice_phone)
    await errands.run_once(store)
    assert (await tombstone_of(alice_phone)).receipts.keys() == set(tombstones.STORES)


@pytest.mark.parametrize("days", [-1, 1], ids=["a day behind", "a day ahead"])
async def test_a_worker_with_a_wrong_clock_erases_when_it_is_time(
    days: int, store: LostStore, alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = mailbox_of(alice_phone)
    await store.deposit(Chat().entries(3, phone))
    caller = CurrentDevice(phone.user_id, phone.device_id, 1, alice_phone.registration_id, is_primary=True)
    real = await sync_to_async(clocks.postgresql_now)()
    set_process_clock(monkeypatch, timedelta(days=days))
    tombstone = await sync_to_async(delete_account)(caller, None)
    [[_, _, unlinked_ms]] = tombstone.mailboxes
    for moment in (tombstone.deleted_at, datetime.fromtimestamp(unlinked_ms / 1000, UTC)):
        assert abs(moment - real) < timedelta(minutes=1)
    await errands.run_once(store)
    assert not (await tombstone_of(alice_phone)).receipts
    ago = real - timedelta(seconds=30)
    await sync_to_async(Tombstone.objects.update)(deleted_at=ago, look_at=ago)
    await errands.run_once(store)
    waits = await tombstone_of(alice_phone)
    assert waits.receipts.keys() == {"postgresql"}
    assert timedelta(minutes=50) < waits.look_at - real < timedelta(minutes=70)
    assert len(await drain(store, phone)) == 3
    await an_hour_later(alice_phone)
    await sync_to_async(Tombstone.objects.update)(look_at=real)
    await errands.run_once(store)
    assert (await tombstone_of(alice_phone)).erased_at is not None
    assert await drain(store, phone) == []


async def test_an_operator_can_show_the_receipts_until_the_tombstone_goes(
    store: LostStore, alice_phone: Installation, bob_phone: Installation
) -> None:
    assert (await sync_to_async(delete)(alice_phone)).status == 200
    await erase(store, alice_phone)
    await an_hour_later(alice_phone)
    await errands.run_once(store)
    [shown] = (await shows(alice_phone.user_id)).splitlines()
    receipt = json.loads(shown)
    assert receipt["user_id"] == alice_phone.user_id
    assert receipt["erased_at"] is not None
    assert receipt["receipts"].keys() == set(tombstones.STORES)
    assert alice_phone.phone_number[1:] not in shown
    with pytest.raises(CommandError):
        await shows(bob_phone.user_id)
    assert await chores.do(tombstones.TOMBSTONES, free) == 0
    await sync_to_async(Tombstone.objects.update)(until=timezone.now())
    assert await chores.do(tombstones.TOMBSTONES, free) == 1
    assert await shows() == ""


async def test_a_life_with_real_sockets_ends(
    connect: Connect, alice_phone: Installation, bob_phone: Installation, alice_and_bob: UUID
) -> None:
    """Alice has talked to Bob from two devices, and deletes her account: Bob hears of it, and can tell nobody."""
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        assert (await alice.ask(message(alice_and_bob, [bob_phone], b"hello")))["type"] == "sent"
        await bob.envelopes(1)
        assert (await sync_to_async(delete)(alice_phone)).status == 200
        assert await alice.closed() == 4401
        gone, left = await bob.envelopes(2)
        assert (gone["system"]["event"], gone["system"]["device_id"]) == ("device_unlinked", alice_phone.device_id)
        assert (left["system"]["event"], left["system"]["user_id"]) == ("member_left", alice_phone.user_id)
        assert (await bob.ask(message(alice_and_bob, [], b"to nobody")))["type"] == "sent"
    found = await sync_to_async(bob_phone.http.get)(f"conversations/{alice_and_bob}")
    assert (found.status, found.body["member_count"]) == (200, 1)


async def free() -> None:
    """Nobody minds."""


@sync_to_async
def look_now(phone: Installation) -> None:
    Tombstone.objects.filter(pk=phone.user_id).update(look_at=timezone.now())


@sync_to_async
def shows(*arguments: str) -> str:
    out = StringIO()
    call_command("tombstones", *arguments, stdout=out)
    return out.getvalue()
