"""Signing a device in, again, and after a re-installation."""

import secrets
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from accounts import otp, valkey
from accounts.models import User
from accounts.wire.refusals import StorageUnavailable
from devices.models import Device
from tests.cast import Http, Installation, JsonObject, Keys, b64
from tests.linking import Linking

pytestmark = pytest.mark.django_db


def register(installation: Installation, token: str | None = None, **extra: Any) -> Any:
    body = {"registration_token": token or installation.prove_number(), "device": installation.device_input()} | extra
    return installation.http.post("auth/register-device", body)


def test_alice_signs_her_phone_in(services: None) -> None:
    phone = Installation(name="Alice's phone")
    answer = register(phone)
    assert answer.status == 201
    assert answer.body.keys() == {
        "user_id",
        "device_id",
        "device_number",
        "is_primary",
        "access_token",
        "access_expires_in_seconds",
        "refresh_token",
        "refresh_expires_in_seconds",
    }
    assert (answer.body["device_number"], answer.body["is_primary"]) == (1, True)
    assert (answer.body["access_expires_in_seconds"], answer.body["refresh_expires_in_seconds"]) == (600, 2592000)
    [device] = phone.signed_in(answer.body).http.get("devices").body["items"]
    assert device["identity_key"] == b64(phone.keys.identity_key)
    assert device["is_current"] is True
    assert device["last_seen_at"].endswith("T00:00:00.000Z")


def test_nothing_keeps_the_number_in_the_clear(alice_phone: Installation) -> None:
    [user] = User.objects.all()
    digits = alice_phone.phone_number[1:]
    assert digits not in repr(User.objects.values_list()[0])
    assert user.phone_number == alice_phone.phone_number
    assert user.masked_phone == f"+66••••••{digits[-3:]}"


def test_a_lost_answer_can_be_asked_for_again(services: None) -> None:
    phone = Installation()
    token = phone.prove_number()
    body = {"registration_token": token, "device": phone.device_input()}
    first, again = (phone.http.post("auth/register-device", body).body for _ in range(2))
    assert (first["user_id"], first["device_id"]) == (again["user_id"], again["device_id"])
    assert first["access_token"] != again["access_token"]
    assert Http(first["access_token"]).get("profile").code == "INVALID_TOKEN"
    assert Http(again["access_token"]).get("profile").status == 200
    assert Http(again["access_token"]).get("keys/count").body["count"] == 10


def test_a_registration_token_is_for_the_first_device_that_uses_it(services: None) -> None:
    phone = Installation()
    token = phone.prove_number()
    assert register(phone, token).status == 201
    thief = phone.beside()
    assert register(thief, token).code == "INVALID_TOKEN"
    assert register(thief, "made-up").code == "INVALID_TOKEN"


def test_a_token_is_over_with_the_device_it_was_redeemed_for(alice_phone: Installation) -> None:
    laptop = alice_phone.beside("Alice's laptop")
    token = laptop.prove_number()
    assert [register(laptop, token).status for _ in range(2)] == [201, 201]
    laptop.signed_in(register(laptop, token).body)
    alice_phone.register()
    tablet = alice_phone.beside("Alice's tablet").register()
    assert tablet.http.delete(f"devices/{laptop.device_id}").status == 204
    for more in ({}, {"pin": "2580"}, {"device": laptop.device_input(identity_key=b64(bytes(33)))}):
        assert register(laptop, token, **more).code == "INVALID_TOKEN", more
    Linking(tablet, laptop).claimed().approved().completed()
    assert register(laptop, token).code == "INVALID_TOKEN", "what came back is another device"
    assert register(laptop).status == 201


def test_a_token_is_over_with_the_account_it_was_redeemed_for(alice_phone: Installation) -> None:
    laptop = alice_phone.beside("Alice's laptop")
    token = laptop.prove_number()
    laptop.signed_in(register(laptop, token).body)
    assert laptop.http.delete("account").status == 200
    assert register(laptop, token).code == "INVALID_TOKEN"
    User.objects.filter(pk=laptop.user_id).delete()
    assert register(laptop, token).code == "INVALID_TOKEN", "its rows are gone too"
    assert not User.objects.exists()
    assert laptop.register().user_id != alice_phone.user_id


def test_a_token_whose_registration_was_rolled_back_is_as_good_as_before(
    services: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = Installation()
    token = phone.prove_number()

    def breaks_off(registration_token: str, made: otp.Made) -> None:
        really(registration_token, made)
        raise StorageUnavailable

    really = otp.note_made
    with monkeypatch.context() as there:
        there.setattr(otp, "note_made", breaks_off)
        assert register(phone, token).status == 503
    assert not Device.objects.exists()
    assert register(phone, token).status == 201


def test_a_second_device_becomes_the_primary(alice_phone: Installation) -> None:
    laptop = alice_phone.beside().register()
    assert laptop.user_id == alice_phone.user_id
    devices = laptop.http.get("devices").body["items"]
    assert [(device["device_id"], device["device_number"], device["is_primary"]) for device in devices] == [
        (alice_phone.device_id, 1, False),
        (laptop.device_id, 2, True),
    ]
    assert alice_phone.http.get("profile").status == 200


@pytest.mark.django_db(transaction=True)
def test_a_reinstalled_phone_keeps_its_id_and_begins_with_an_empty_mailbox(
    alice_phone: Installation, announcements: Any
) -> None:
    before = Device.objects.get(pk=alice_phone.device_id)
    epoch = User.objects.get().device_epoch
    with connection.cursor() as cursor:
        # Of the whole server: another database's open transaction holds it back, and `mailbox_from` with it.
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        [oldest_open] = cursor.fetchone()
    again = alice_phone.reinstalled().register(prekeys=3)
    after = Device.objects.get(pk=again.device_id)
    assert (again.device_id, after.device_number) == (alice_phone.device_id, before.device_number)
    assert before.mailbox_from == 0
    assert after.mailbox_from & (2**48 - 1) >= oldest_open
    assert after.mailbox_from >> 48 >= 1
    assert User.objects.get().device_epoch == epoch + 1
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    assert again.http.get("keys/count").body["count"] == 3
    assert announcements == [(again.device_id, "reinstalled")]


@pytest.mark.django_db(transaction=True)
def test_the_same_installation_again_keeps_its_mail_and_skips_keys_it_uploaded_before(
    alice_phone: Installation, bob_phone: Installation, announcements: Any
) -> None:
    epoch = User.objects.get(pk=alice_phone.user_id).device_epoch
    taken = bob_phone.http.get(f"keys/{alice_phone.user_id}/{alice_phone.device_id}").body["devices"][0][
        "one_time_prekey"
    ]
    alice_phone.keys.next_key_id = 1
    alice_phone.register(prekeys=12)
    assert Device.objects.get(pk=alice_phone.device_id).mailbox_from == 0
    assert User.objects.get(pk=alice_phone.user_id).device_epoch == epoch
    # Key 1 signed the first time; 2 to 11 went into the pool, and one of them out. Of 2 to 13 only the last two are new.
    assert alice_phone.http.get("keys/count").body["count"] == 9 + 2
    left = {
        bob_phone.http.get(f"keys/{alice_phone.user_id}/{alice_phone.device_id}").body["devices"][0]["one_time_prekey"][
            "key_id"
        ]
        for _ in range(5)
    }
    assert taken["key_id"] not in left
    assert announcements == [(alice_phone.device_id, "registered")]


def test_a_seventh_device_needs_one_to_go(alice_phone: Installation) -> None:
    laptops = [alice_phone.beside(name=f"laptop {number}").register() for number in range(2, 6)]
    # Five codes a day are enough for five devices: the other two sign in another day.
    valkey.client().flushdb()
    laptops.append(alice_phone.beside(name="laptop 6").register())
    seventh = alice_phone.beside(name="laptop 7")
    token = seventh.prove_number()
    refused = register(seventh, token)
    assert (refused.status, refused.code) == (411, "DEVICE_LIMIT")
    assert (refused.body["current"], refused.body["max"]) == (6, 6)
    assert refused.body["devices"][0] == {
        "device_id": alice_phone.device_id,
        "name": "Alice's phone",
        "platform": "android",
        "last_seen_at": None,
    }
    assert register(seventh, token, unlink_device_id="999999").status == 411
    accepted = register(seventh, token, unlink_device_id=alice_phone.device_id)
    assert accepted.status == 201
    assert accepted.body["device_number"] == 7
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    assert laptops[0].http.get("profile").status == 200


def test_an_unlinked_installation_comes_back_as_another_device(alice_phone: Installation) -> None:
    laptop = alice_phone.beside().register()
    assert alice_phone.http.delete(f"devices/{alice_phone.device_id}").status == 204
    again = alice_phone.register()
    assert again.device_id not in (laptop.device_id, "1001")
    assert again.device_number == 3


def test_device_numbers_begin_anew_after_127(alice_phone: Installation) -> None:
    Device.objects.filter(pk=alice_phone.device_id).update(device_number=1)
    laptop = alice_phone.beside().register()
    Device.objects.filter(pk=laptop.device_id).update(device_number=127)
    assert alice_phone.beside().register().device_number == 2


@pytest.mark.parametrize("limit", [0, 500])
def test_a_device_for_which_no_number_is_left_is_refused_whatever_the_limit_says(
    alice_phone: Installation, settings: Any, limit: int
) -> None:
    settings.LIMITS = settings.LIMITS | {"DEVICES_PER_USER": [limit], "OTP_PER_NUMBER_DAY": [0]}
    phone = Device.objects.get(pk=alice_phone.device_id)
    Device.objects.bulk_create(
        Device(
            user_id=phone.user_id,
            device_number=number,
            device_uuid=uuid4(),
            name="one of many",
            platform="bot",
            registration_id=1,
            identity_key=phone.identity_key,
        )
        for number in range(2, 128)
    )
    refused = register(alice_phone.beside("one too many"))
    assert (refused.status, refused.code, refused.body["max"]) == (411, "DEVICE_LIMIT", 127)


def test_a_blocked_person_cannot_sign_in(alice_phone: Installation) -> None:
    User.objects.update(is_active=False)
    assert register(alice_phone.beside()).code == "FORBIDDEN"


def tampered(signed: JsonObject) -> JsonObject:
    return signed | {"signature": b64(secrets.token_bytes(64))}


def broken_inputs() -> list[tuple[str, dict[str, Any]]]:
    keys = Keys()
    curve, pq = keys.prekey(1), keys.pq_prekey(1)
    return [
        ("device.identity_key", {"identity_key": b64(b"\x04" + keys.identity_key[1:])}),
        ("device.identity_key", {"identity_key": b64(keys.identity_key[:-1])}),
        ("device.identity_key", {"identity_key": b64(b"\x05" + bytes(32))}),
        ("device.identity_key", {"identity_key": b64(b"\x05" + b"\xff" * 32)}),
        ("device.signed_prekey.signature", {"signed_prekey": tampered(keys.signed_prekey(1))}),
        ("device.signed_prekey.signature", {"signed_prekey": keys.signed_prekey(1) | {"signature": b64(b"short")}}),
        (
            "device.one_time_prekeys.1.public_key",
            {"one_time_prekeys": [curve, {"key_id": 2, "public_key": b64(b"\x05" * 32)}]},
        ),
        ("device.last_resort_prekey.signature", {"last_resort_prekey": tampered(keys.signed_prekey(9))}),
        ("device.pq_prekeys.0.public_key", {"pq_prekeys": [pq | {"public_key": b64(b"\x09" * 1569)}]}),
        ("device.pq_prekeys.0.signature", {"pq_prekeys": [tampered(pq)]}),
        ("device.pq_last_resort_prekey.public_key", {"pq_last_resort_prekey": keys.signed_prekey(9)}),
    ]


@pytest.mark.parametrize(("field", "changes"), broken_inputs())
def test_a_bad_key_is_named_and_nothing_is_stored(services: None, field: str, changes: dict[str, Any]) -> None:
    phone = Installation()
    body = {"registration_token": phone.prove_number(), "device": phone.device_input() | changes}
    refused = phone.http.post("auth/register-device", body)
    assert (refused.status, refused.code, refused.body["field"]) == (422, "INVALID_SIGNATURE", field)
    assert not User.objects.exists()


def test_form_comes_before_the_token_and_the_token_before_the_keys(services: None) -> None:
    phone = Installation()
    malformed = phone.http.post(
        "auth/register-device", {"registration_token": "made-up", "device": phone.device_input(name="")}
    )
    assert (malformed.status, malformed.body["field"]) == (400, "device.name")
    bad_key = {"registration_token": "made-up", "device": phone.device_input(identity_key=b64(bytes(33)))}
    assert phone.http.post("auth/register-device", bad_key).code == "INVALID_TOKEN"


def test_a_hundred_prekeys_of_each_kind_fit_and_one_more_does_not(services: None) -> None:
    phone = Installation()
    pq_prekeys = [phone.keys.pq_prekey(number) for number in range(1, 101)]
    phone.register(prekeys=100, pq_prekeys=pq_prekeys)
    assert phone.http.get("keys/count").body == {"count": 100, "pq_count": 100}
    refused = phone.http.post(
        "auth/register-device", {"registration_token": "x", "device": phone.device_input(prekeys=101)}
    )
    assert (refused.status, refused.body["field"]) == (400, "device.one_time_prekeys")
