"""Letting another installation in: what each side sees, in which order, and how it ends."""

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from accounts.clocks import postgresql_now
from accounts.models import SecurityEvent, User
from accounts.wire.refusals import NotFound
from devices import holdings, linking, xed25519
from devices.current import CurrentDevice
from devices.models import Device, Link
from devices.public_keys import fingerprint
from devices.unlinking import block_user, unblock_user
from tests.cast import Http, Installation, b64
from tests.clocks import set_process_clock
from tests.linking import Linking, linked
from tests.vouching import signature_of, statement

pytestmark = pytest.mark.django_db


@pytest.fixture
def link(alice_phone: Installation) -> Linking:
    """Alice's phone shows a code."""
    return Linking(alice_phone)


def late(link: Linking) -> None:
    """The present state's time is over."""
    Link.objects.filter(pk=link.link_id).update(expires_at=timezone.now() - timedelta(milliseconds=1))


def states(link: Linking) -> tuple[str, str]:
    """What the phone and the laptop are told."""
    return link.look().body["status"], link.fetch().body["status"]


def test_alice_links_her_laptop(link: Linking) -> None:
    phone, laptop = link.phone, link.laptop
    waiting = link.look().body
    assert waiting.keys() == {"link_id", "status", "expires_at"}
    assert waiting["status"] == "new"
    link.claimed()
    assert link.fetch().body.keys() == {"link_id", "status", "expires_at"}
    assert link.look().body["claimant"] == {
        "name": "Alice's laptop",
        "platform": "desktop",
        "device_uuid": laptop.device_uuid,
        "identity_key": b64(laptop.keys.identity_key),
        "fingerprint": fingerprint(laptop.keys.identity_key),
    }
    approved = link.approve().body
    assert approved == {"link_id": link.link_id, "status": "approved", "device_id": approved["device_id"]}
    assert link.look().body["device_id"] == approved["device_id"]
    fetched = link.fetch().body
    assert fetched["status"] == "completed"
    assert fetched["registration"].keys() == {
        "user_id",
        "device_id",
        "device_number",
        "is_primary",
        "access_token",
        "access_expires_in_seconds",
        "refresh_token",
        "refresh_expires_in_seconds",
    }
    assert fetched["registration"]["is_primary"] is False
    laptop.signed_in(fetched["registration"])
    assert (laptop.user_id, laptop.device_id, laptop.device_number) == (phone.user_id, approved["device_id"], 2)
    assert laptop.http.get("profile").status == 200
    assert laptop.http.get("keys/count").body["count"] == 3
    [first, second] = laptop.http.get("devices").body["items"]
    assert "linked_by" not in first
    assert second["linked_by"] == fetched["linked_by"]
    assert (first["is_primary"], second["is_primary"], second["is_current"]) == (True, False, True)


def test_a_link_answers_with_its_token_for_300_seconds(alice_phone: Installation) -> None:
    opened = alice_phone.http.post("devices/link").body
    assert opened.keys() == {"link_id", "link_token", "expires_in_seconds"}
    assert opened["expires_in_seconds"] == 300
    assert len(base64.urlsafe_b64decode(opened["link_token"] + "=")) == 32


def test_everybody_can_verify_who_let_the_laptop_in(alice_phone: Installation, bob_phone: Installation) -> None:
    laptop = linked(alice_phone)
    seen = [
        next(device for device in answer.body["devices"] if device["device_id"] == laptop.device_id)
        for answer in (
            bob_phone.http.get(f"keys/{alice_phone.user_id}/identities"),
            bob_phone.http.get(f"keys/{alice_phone.user_id}/*"),
        )
    ]
    assert seen[0]["linked_by"] == seen[1]["linked_by"]
    linked_by = seen[1]["linked_by"]
    assert linked_by["device_id"] == alice_phone.device_id
    assert linked_by["identity_key"] == b64(alice_phone.keys.identity_key)
    signed = statement(alice_phone.user_id, base64.b64decode(seen[1]["identity_key"]), seen[1]["device_uuid"])
    assert verifies(alice_phone.keys.identity_key, signed, linked_by["signature"])


def verifies(identity_key: bytes, message: bytes, signature: str) -> bool:
    return xed25519.verify(identity_key[1:], message, base64.b64decode(signature))


def test_a_laptop_that_signs_in_by_code_is_nobodys_word_any_more(alice_phone: Installation) -> None:
    laptop = linked(alice_phone)
    laptop.register()
    assert Device.objects.get(pk=laptop.device_id).linked_by is None
    [mine] = [device for device in laptop.http.get("devices").body["items"] if device["is_current"]]
    assert "linked_by" not in mine


def test_nothing_that_lets_somebody_in_is_stored(link: Linking) -> None:
    link.claimed()
    [row] = Link.objects.values_list()
    for secret in (link.token, link.secret):
        raw = base64.urlsafe_b64decode(secret + "=")
        assert not any(raw in bytes(value) for value in row if isinstance(value, bytes | memoryview))
        assert secret not in repr(row)


def test_the_tokens_are_delivered_once(link: Linking) -> None:
    link.claimed().approved()
    assert "registration" in link.fetch().body
    again = link.fetch().body
    assert (again["status"], again.keys()) == ("completed", {"link_id", "status", "expires_at"})
    assert states(link) == ("completed", "completed")


def test_a_rejected_claimant_is_told_and_gets_nothing(link: Linking) -> None:
    link.claimed()
    for _ in range(2):
        assert link.reject().body == {"link_id": link.link_id, "status": "rejected"}
    assert states(link) == ("rejected", "rejected")
    assert (link.approve().status, link.approve().body["status"]) == (409, "rejected")
    assert Device.objects.count() == 1


def test_approved_again_it_stays_as_it_is(link: Linking) -> None:
    link.claimed()
    first = link.approve().body
    vouched = Device.objects.get(pk=first["device_id"]).linked_by
    assert link.approve().body == first
    link.completed()
    assert link.approve(signature=b64(bytes(64))).body == first
    assert link.reject().body["status"] == "completed"
    assert Device.objects.get(pk=first["device_id"]).linked_by == vouched
    assert Device.objects.count() == 2


def test_nothing_is_approved_before_it_is_claimed(link: Linking) -> None:
    for answer in (link.approve(), link.reject()):
        assert (answer.status, answer.code, answer.body["status"]) == (409, "CONFLICT", "new")


def test_a_link_expires(link: Linking) -> None:
    late(link)
    assert link.look().body["status"] == "expired"
    assert link.claim().status == 404


def test_a_claim_that_nobody_approves_expires(link: Linking) -> None:
    link.claimed()
    late(link)
    assert states(link) == ("expired", "expired")
    assert (link.approve().status, link.approve().body["status"]) == (409, "expired")
    assert link.claim().status == 404
    assert linking.lapse() == 0
    assert states(link) == ("expired", "expired")
    assert Link.objects.get().offer is None


def test_a_device_that_does_not_fetch_its_tokens_is_unlinked_again(link: Linking) -> None:
    link.claimed().approved()
    epoch = User.objects.get().device_epoch
    late(link)
    assert (link.look().body["status"], link.approve().body["status"]) == ("expired", "expired")
    assert [linking.lapse(), linking.lapse()] == [1, 0]
    assert [device["device_id"] for device in link.phone.http.get("devices").body["items"]] == [link.phone.device_id]
    assert User.objects.get().device_epoch == epoch + 1
    assert link.fetch().body.keys() == {"link_id", "status", "expires_at"}


def test_who_fetches_too_late_gets_nothing_also_when_nobody_has_cleared_up(link: Linking) -> None:
    link.claimed().approved()
    late(link)
    assert link.fetch().body["status"] == "expired"
    assert Device.objects.filter(active=True).count() == 1
    assert linking.lapse() == 0


@pytest.mark.parametrize("days", [-1, 1], ids=["a day behind", "a day ahead"])
def test_a_worker_with_a_wrong_clock_ends_no_link_early_and_none_late(
    days: int, link: Linking, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = link.phone
    caller = CurrentDevice(UUID(phone.user_id), int(phone.device_id), 1, phone.registration_id, is_primary=True)
    set_process_clock(monkeypatch, timedelta(days=days))
    other, now = linking.open_link(caller), postgresql_now()
    row = Link.objects.get(pk=other.link_id)
    for moment in (row.created_at, row.expires_at - linking.LASTS):
        assert abs(moment - now) < timedelta(minutes=1)
    link.claimed()
    assert {linking.status(one).value for one in Link.objects.all()} == {"new", "claimed"}
    linking.approve(caller, UUID(link.link_id), base64.b64decode(signature_of(phone, link.laptop)))
    assert linking.lapse() == 0
    assert linking.fetch(UUID(link.link_id), link.secret).registration is not None

    Link.objects.filter(pk=other.link_id).update(expires_at=now - timedelta(seconds=1))
    row.refresh_from_db()
    assert linking.status(row) == "expired"
    with pytest.raises(NotFound):
        linking.claim(other.link_token, linking.offer(Link.objects.get(pk=link.link_id)))
    linking.lapse()
    assert Link.objects.get(pk=other.link_id).state == "expired"


def test_a_device_that_was_unlinked_before_it_fetched_gets_nothing(link: Linking) -> None:
    link.claimed()
    device_id = link.approve().body["device_id"]
    assert link.phone.http.delete(f"devices/{device_id}").status == 204
    assert link.fetch().body.keys() == {"link_id", "status", "expires_at"}
    assert states(link) == ("expired", "expired")


def test_a_laptop_that_signs_in_by_itself_meanwhile_keeps_its_tokens(link: Linking) -> None:
    """Whoever has the secret of its claim gets none, and nobody unlinks it for not having fetched them."""
    link.claimed().approved()
    link.laptop.register()
    assert link.fetch().body.keys() == {"link_id", "status", "expires_at"}
    assert link.laptop.http.get("profile").status == 200
    Link.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert linking.lapse() == 0
    assert link.laptop.http.get("profile").status == 200


def test_a_block_ends_what_was_approved(link: Linking) -> None:
    link.claimed().approved()
    block_user(UUID(link.phone.user_id))
    assert link.fetch().body["status"] == "expired"
    unblock_user(UUID(link.phone.user_id))
    assert link.fetch().body["status"] == "expired"
    assert Device.objects.filter(active=True).count() == 1


def test_after_lost_tokens_the_laptop_is_unlinked_and_linked_again(alice_phone: Installation) -> None:
    laptop = linked(alice_phone)
    again = Linking(alice_phone, laptop)
    refused = again.claim()
    assert (refused.status, refused.code, refused.body["field"]) == (409, "CONFLICT", "device.device_uuid")
    assert alice_phone.http.delete(f"devices/{laptop.device_id}").status == 204
    former = laptop.device_id
    assert again.claimed().approved().completed().device_id != former


def test_an_installation_that_signs_in_by_code_meanwhile_is_not_there_twice(link: Linking) -> None:
    link.claimed()
    laptop = link.laptop
    laptop.register()
    assert (link.approve().status, link.approve().code) == (403, "FORBIDDEN"), "the newer one is the primary"
    assert Link.objects.get().state == "expired", "a code shown by the former primary"
    assert Device.objects.filter(device_uuid=laptop.device_uuid).count() == 1


def test_a_phone_that_was_installed_again_does_not_sign_for_its_former_self(link: Linking) -> None:
    link.claimed()
    again = link.phone.reinstalled().register()
    refused = link.approve(again)
    assert (refused.status, refused.body["status"]) == (409, "expired")


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"reject": True},
        {"signature": None, "reject": False},
        {"link_id": None},
        {"link_id": "x"},
        {"signature": "x"},
        {"reject": 1, "signature": None},
    ],
)
def test_an_approval_is_a_signature_or_a_no(link: Linking, changes: dict[str, Any]) -> None:
    link.claimed()
    assert link.approve(**changes).status == 400
    assert link.look().body["status"] == "claimed"


def test_bad_keys_leave_the_link_to_be_claimed(link: Linking) -> None:
    broken = link.laptop.keys.signed_prekey() | {"signature": b64(bytes(64))}
    refused = link.claim(signed_prekey=broken)
    assert (refused.status, refused.body["field"]) == (422, "device.signed_prekey.signature")
    assert link.claim(identity_key=b64(b"\x05" + bytes(32))).body["field"] == "device.identity_key"
    assert link.claimed().look().body["status"] == "claimed"


def test_links_are_few_an_hour(alice_phone: Installation, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"LINKS_PER_HOUR": [2]}
    answers = [alice_phone.http.post("devices/link") for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 429]


def test_a_device_is_linked_while_valkey_is_away(alice_phone: Installation, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert linked(alice_phone).http.get("profile").status == 200


def test_six_devices_are_enough(alice_phone: Installation) -> None:
    waiting = [Linking(alice_phone, alice_phone.beside(f"laptop {number}")).claimed() for number in range(2, 8)]
    approvals = [link.approve() for link in waiting]
    assert [answer.status for answer in approvals] == [200] * 5 + [411]
    assert approvals[-1].body["current"] == approvals[-1].body["max"] == 6
    assert waiting[-1].look().body["status"] == "claimed"
    refused = alice_phone.http.post("devices/link")
    assert (refused.status, refused.code, refused.body["max"]) == (411, "DEVICE_LIMIT", 6)
    assert alice_phone.http.delete(f"devices/{approvals[0].body['device_id']}").status == 204
    assert waiting[-1].approve().status == 200


@pytest.mark.django_db(transaction=True)
def test_peers_are_told_and_it_is_on_record(link: Linking, announcements: Any) -> None:
    link.claimed()
    device_id = link.approve().body["device_id"]
    link.completed()
    assert announcements == [(device_id, "linked")]
    assert link.phone.http.delete(f"devices/{device_id}").status == 204
    events = SecurityEvent.objects.filter(device_id=device_id).order_by("pk")
    assert [event.kind for event in events] == ["device_linked", "device_unlinked"]
    assert all(event.facts == {"by_device_id": link.phone.device_id} for event in events)


def test_the_keys_of_a_claim_do_not_stay_in_the_link(link: Linking) -> None:
    link.claimed()
    assert len(linking.offer(Link.objects.get()).keys.one_time_prekeys) == 3
    link.approved()
    assert linking.offer(Link.objects.get()).keys.one_time_prekeys in ((), [])
    assert link.look().body["claimant"]["name"] == "Alice's laptop"


def test_a_number_is_taken_once(alice_phone: Installation) -> None:
    laptop = linked(alice_phone)
    assert alice_phone.http.delete(f"devices/{laptop.device_id}").status == 204
    assert linked(alice_phone).device_number == 3
    assert holdings.most_devices() == 6


def test_nobody_asks_for_a_link_without_saying_who(link: Linking) -> None:
    assert Http().get(f"devices/link/{link.link_id}").code == "UNAUTHORIZED"
    assert Http("made-up").get(f"devices/link/{link.link_id}").code == "INVALID_TOKEN"
    assert signature_of(link.phone, link.laptop) != signature_of(link.phone, link.phone)
