"""Listing, renaming and unlinking devices."""

import pytest

from accounts.models import User
from devices.models import Device, OneTimePrekey
from devices.unlinking import block_user, revoke_device, unblock_user
from tests.cast import Installation, JsonObject

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice_laptop(alice_phone: Installation) -> Installation:
    """Alice's second device; as the newer one it is the primary."""
    return alice_phone.beside(name="Alice's laptop").register()


def test_a_list_comes_in_pages(alice_phone: Installation, alice_laptop: Installation, mallory: Installation) -> None:
    first = alice_phone.http.get("devices", limit="1")
    assert [device["device_id"] for device in first.body["items"]] == [alice_phone.device_id]
    assert first.body["has_more"] is True
    second = alice_phone.http.get("devices", limit="1", cursor=first.body["next_cursor"])
    assert [device["device_id"] for device in second.body["items"]] == [alice_laptop.device_id]
    assert second.body["has_more"] is False
    assert second.body.get("next_cursor") is None


@pytest.mark.parametrize(
    "query",
    [{"cursor": "x"}, {"cursor": "MTAwMQ==.x"}, {"limit": "0"}, {"limit": "101"}, {"limit": "1.0"}, {"limit": "x"}],
)
def test_a_made_up_cursor_or_limit_is_refused(alice_phone: Installation, query: dict[str, str]) -> None:
    refused = alice_phone.http.get("devices", **query)
    assert (refused.status, refused.code, refused.body["field"]) == (400, "INVALID_REQUEST", next(iter(query)))


def test_a_device_renames_itself_and_the_primary_any(alice_phone: Installation, alice_laptop: Installation) -> None:
    assert alice_phone.http.patch(f"devices/{alice_phone.device_id}", {"name": "Pixel"}).body["name"] == "Pixel"
    assert alice_laptop.http.patch(f"devices/{alice_phone.device_id}", {"name": "Old one"}).status == 200
    assert alice_phone.http.patch(f"devices/{alice_laptop.device_id}", {"name": "Mine"}).code == "FORBIDDEN"


@pytest.mark.parametrize("name", ["", "x" * 101, "a\x00b", "a\nb", "evil\u202eeman", 5, None])
def test_a_name_is_checked(alice_phone: Installation, name: object) -> None:
    refused = alice_phone.http.patch(f"devices/{alice_phone.device_id}", {"name": name})
    assert (refused.status, refused.body["field"]) == (400, "name")


def test_an_ordinary_device_unlinks_itself_and_no_other(alice_phone: Installation, alice_laptop: Installation) -> None:
    assert alice_phone.http.delete(f"devices/{alice_laptop.device_id}").code == "FORBIDDEN"
    epoch = User.objects.get().device_epoch
    assert alice_phone.http.delete(f"devices/{alice_phone.device_id}", {}).status == 204
    assert User.objects.get().device_epoch == epoch + 1
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    assert alice_phone.http.post("auth/refresh", {"refresh_token": alice_phone.refresh_token}).code == "INVALID_TOKEN"
    assert not OneTimePrekey.objects.filter(device_id=alice_phone.device_id).exists()
    row = Device.objects.get(pk=alice_phone.device_id)
    assert (row.active, row.unlinked_at is not None) == (False, True)


def test_the_primary_unlinks_others_but_neither_itself_nor_the_last(
    alice_phone: Installation, alice_laptop: Installation
) -> None:
    assert alice_laptop.http.delete(f"devices/{alice_laptop.device_id}").code == "CONFLICT"
    assert alice_laptop.http.delete(f"devices/{alice_phone.device_id}").status == 204
    assert alice_laptop.http.delete(f"devices/{alice_phone.device_id}").code == "NOT_FOUND"
    assert alice_laptop.http.delete(f"devices/{alice_laptop.device_id}").code == "CONFLICT"


def test_the_primary_needs_the_pin_to_unlink_others_and_nobody_needs_it_to_go(
    alice_phone: Installation, alice_laptop: Installation
) -> None:
    assert alice_laptop.http.put("auth/pin", {"pin": "271828"}).status == 200
    path = f"devices/{alice_phone.device_id}"
    bodies: list[JsonObject] = [{}, {"pin": "000000"}]
    assert [alice_laptop.http.delete(path, body).status for body in bodies] == [401, 401]
    left = alice_laptop.http.get("auth/pin").body["attempts_remaining"]
    assert left == 4, "asking without a PIN costs no try"
    assert alice_phone.http.delete(f"devices/{alice_laptop.device_id}", {"pin": "111111"}).status == 403
    assert alice_laptop.http.delete(f"devices/{alice_laptop.device_id}", {"pin": "111111"}).status == 409
    assert alice_laptop.http.get("auth/pin").body["attempts_remaining"] == left, "who may not unlink may not guess"
    assert alice_laptop.http.delete(path, {"pin": "271828"}).status == 204
    tablet = alice_laptop.beside("a tablet").register()
    assert alice_laptop.http.delete(f"devices/{alice_laptop.device_id}").status == 204
    assert tablet.http.get("profile").status == 200


def test_strangers_devices_are_not_there(alice_phone: Installation, mallory: Installation) -> None:
    refused = [
        mallory.http.delete(f"devices/{name}")
        for name in (alice_phone.device_id, "999999", "x", "01", "-1", str(2**63))
    ]
    refused += [mallory.http.patch(f"devices/{alice_phone.device_id}", {"name": "Mine"})]
    assert {(answer.status, str(answer.body)) for answer in refused} == {(404, str(refused[0].body))}
    assert alice_phone.http.get("profile").status == 200


def test_staff_revokes_a_device_and_blocks_a_person(alice_phone: Installation, alice_laptop: Installation) -> None:
    revoke_device(int(alice_laptop.device_id))
    revoke_device(int(alice_laptop.device_id))
    assert alice_laptop.http.get("profile").code == "INVALID_TOKEN"
    assert alice_phone.http.get("profile").status == 200
    user = User.objects.get()
    block_user(user.pk)
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    unblock_user(user.pk)
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN", "a block ends tokens for good"
    # With the primary revoked, whoever signs in next holds that rank.
    assert alice_phone.register().http.get("devices").body["items"][0]["is_primary"] is True
