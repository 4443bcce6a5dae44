"""A linked device on real sockets: what it gets, from when on, and until when."""

import base64
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from devices import xed25519
from devices.models import Device, Link
from messaging import errands, runtime
from tests.cast import Answer, Installation, JsonObject
from tests.linking import Linking, linked
from tests.messaging.conftest import Connect
from tests.sockets import message, text_of
from tests.vouching import statement

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


async def test_a_life_with_a_second_device(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    """Alice links her laptop, both her devices hear from Bob, she unlinks it, and only her phone does."""
    async with connect(alice_phone) as phone, connect(bob_phone) as bob:
        await bob.ask(message(alice_and_bob, [alice_phone], b"before"))
        laptop = await sync_to_async(linked)(alice_phone)
        changed = await bob.expect("devices_changed", device_id=laptop.device_id, reason="linked")
        assert changed["user_id"] == alice_phone.user_id
        await phone.expect("devices_changed", device_id=laptop.device_id, reason="linked")

        to_one = message(alice_and_bob, [alice_phone], b"to one of two")
        refused = await bob.ask(to_one)
        assert refused["missing"] == [{"user_id": alice_phone.user_id, "device_id": laptop.device_id}]
        assert verified(await bundle(bob_phone, laptop), alice_phone, laptop)
        async with connect(laptop) as second:
            to_both = message(alice_and_bob, [alice_phone, laptop], b"to both")
            sent = await bob.ask(to_both | {"client_message_id": to_one["client_message_id"]})
            assert sent["type"] == "sent", sent
            news, last = await second.envelopes(2)
            assert (news["kind"], news["start"], news["system"]["event"]) == ("system", True, "device_linked")
            assert news["system"]["device_id"] == laptop.device_id
            assert (text_of(last), last["seq"]) == (b"to both", news["seq"] + 1)
            heard = await phone.envelopes(3)
            assert [envelope["kind"] for envelope in heard] == ["message", "system", "message"]
            assert (await second.ask(message(alice_and_bob, [alice_phone, bob_phone], b"mine")))["type"] == "sent"
            told = await bob.envelopes(2)
            assert (told[0]["system"]["event"], text_of(told[1])) == ("device_linked", b"mine")
            assert told[1]["sender_device_id"] == laptop.device_id

            gone = await sync_to_async(alice_phone.http.delete)(f"devices/{laptop.device_id}")
            assert gone.status == 204
            assert await second.closed() == 4401
        to_both = message(alice_and_bob, [alice_phone, laptop], b"to both")
        assert (await bob.ask(to_both))["extra"] == [laptop.device_id]
        again = message(alice_and_bob, [alice_phone], b"to one", client_message_id=to_both["client_message_id"])
        assert (await bob.ask(again))["type"] == "sent"
        assert [text_or_event(item) for item in await phone.envelopes(3)] == [b"mine", "device_unlinked", b"to one"]


async def test_what_is_committed_after_the_approval_waits_for_the_laptop(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    """Approved and not fetched yet, it is a device already: nothing that is said meanwhile is lost to it."""
    async with connect(bob_phone) as bob:
        await bob.ask(message(alice_and_bob, [alice_phone], b"before"))
        link = await sync_to_async(lambda: Linking(alice_phone).claimed().approved())()
        laptop = link.laptop
        laptop.device_id = str((await Device.objects.aget(device_uuid=laptop.device_uuid)).pk)
        assert (await bob.ask(message(alice_and_bob, [alice_phone, laptop], b"meanwhile")))["type"] == "sent"
    await sync_to_async(link.completed)()
    async with connect(laptop) as second:
        assert [text_or_event(item) for item in await second.envelopes(2)] == ["device_linked", b"meanwhile"]


async def test_a_device_nobody_comes_for_is_unlinked_by_an_errand(
    connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(bob_phone) as bob:
        await bob.ask(message(alice_and_bob, [alice_phone], b"before"))
        link = await sync_to_async(lambda: Linking(alice_phone).claimed().approved())()
        await Link.objects.filter(pk=link.link_id).aupdate(expires_at=timezone.now())
        await errands.run_once((await runtime.running()).store)
        await bob.expect("devices_changed", reason="unlinked")
        assert (await bob.ask(message(alice_and_bob, [alice_phone], b"to one")))["type"] == "sent"
    assert (await sync_to_async(link.fetch)()).body["status"] == "expired"


@sync_to_async
def bundle(caller: Installation, of: Installation) -> JsonObject:
    answer: Answer = caller.http.get(f"keys/{of.user_id}/{of.device_id}")
    assert answer.status == 200, answer
    [found] = answer.body["devices"]
    assert isinstance(found, dict)
    return found


def verified(bundle: JsonObject, voucher: Installation, new: Installation) -> bool:
    """Whether the bundle's own words prove that the device Bob knows has let this one in."""
    signed = statement(voucher.user_id, base64.b64decode(bundle["identity_key"]), bundle["device_uuid"])
    signature = base64.b64decode(bundle["linked_by"]["signature"])
    return bundle["device_id"] == new.device_id and xed25519.verify(voucher.keys.identity_key[1:], signed, signature)


def text_or_event(envelope: JsonObject) -> bytes | str:
    return str(envelope["system"]["event"]) if envelope["kind"] == "system" else text_of(envelope)
