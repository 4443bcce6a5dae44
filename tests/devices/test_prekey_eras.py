"""After a promotion or a restore no prekey of before is handed out: PostgreSQL may have lost that it was handed out already."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from accounts import lineage_guard
from accounts.lineage import Mark
from accounts.lineage_guard import guard
from accounts.models import SecurityEvent
from devices import eras, restoring
from devices.models import Device, OneTimePrekey
from devices.signals import prekeys_low
from tests.cast import Answer, Installation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def era_of_today() -> Iterator[None]:
    """These tables have no models, so that nobody else puts them back."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_era SET added = 0")
        cursor.execute("UPDATE devices_era SET entered = %s", [eras.present()])


@pytest.fixture
def asked() -> Iterator[list[dict[str, Any]]]:
    """Whom the server has asked for prekeys."""
    heard: list[dict[str, Any]] = []

    def hear(*, device_id: int, count: int, pq_count: int, **_: Any) -> None:
        heard.append({"device_id": str(device_id), "count": count, "pq_count": pq_count})

    prekeys_low.connect(hear)
    yield heard
    prekeys_low.disconnect(hear)


def era_passes() -> None:
    """What a promotion does by a new timeline, and accepting a restore by what it adds."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_era SET added = added + 1")


def fetch(caller: Installation, target: Installation) -> Any:
    answer = caller.http.get(f"keys/{target.user_id}/{target.device_id}")
    assert answer.status == 200, answer
    return answer.body["devices"][0]


def upload(phone: Installation, *, first: int, count: int = 3, pq: bool = False) -> Answer:
    prekey = phone.keys.pq_prekey if pq else phone.keys.prekey
    name = "pq_prekeys" if pq else "one_time_prekeys"
    return phone.http.put("keys", {name: [prekey(first + number) for number in range(count)]})


def test_in_a_new_era_nothing_of_the_former_pool_is_handed_out(alice_phone: Installation, services: None) -> None:
    bob = Installation()
    last_resort, pq_last_resort = bob.keys.signed_prekey(500), bob.keys.pq_prekey(500)
    resorts = {"last_resort_prekey": last_resort, "pq_last_resort_prekey": pq_last_resort}
    bob.register(prekeys=5, pq_prekeys=[bob.keys.pq_prekey(1)], **resorts)
    assert bob.http.get("keys/count").body == {"count": 5, "pq_count": 1}
    era_passes()
    assert bob.http.get("keys/count").body == {"count": 0, "pq_count": 0}
    bundle = fetch(alice_phone, bob)
    assert "one_time_prekey" not in bundle
    assert (bundle["last_resort_prekey"], bundle["pq_prekey"]) == (last_resort, pq_last_resort)
    assert OneTimePrekey.objects.filter(device_id=bob.device_id).count() == 6, "not handed out, and not counted"


def test_an_upload_that_repeats_what_was_lost_revives_no_key(
    alice_phone: Installation, bob_phone: Installation, asked: list[dict[str, Any]]
) -> None:
    """The backup was taken before Bob's phone uploaded 100 to 102; one of them was handed out; his answer was lost, so he says it again."""
    era_passes()
    assert upload(bob_phone, first=100).body == {"count": 0, "pq_count": 0}
    assert asked == [{"device_id": bob_phone.device_id, "count": 0, "pq_count": 0}], "and asked for others at once"
    assert SecurityEvent.objects.filter(kind="prekeys_discarded", device_id=bob_phone.device_id).count() == 1
    assert upload(bob_phone, first=100).body == {"count": 0, "pq_count": 0}
    assert upload(bob_phone, first=103).body == {"count": 3, "pq_count": 0}
    assert fetch(alice_phone, bob_phone)["one_time_prekey"]["key_id"] == 103


def test_each_kind_of_prekey_tells_its_own_numbers(services: None) -> None:
    bob = Installation().register(prekeys=3)
    era_passes()
    assert upload(bob, first=50).body["count"] == 0
    assert upload(bob, first=53).body["count"] == 3
    assert upload(bob, first=1, pq=True).body == {"count": 3, "pq_count": 0}, "his first ones may have been lost"
    assert upload(bob, first=4, pq=True).body == {"count": 3, "pq_count": 3}


def test_keys_that_stay_are_kept_in_every_era(alice_phone: Installation, bob_phone: Installation) -> None:
    era_passes()
    fresh, resort = bob_phone.keys.signed_prekey(77), bob_phone.keys.signed_prekey(78)
    assert bob_phone.http.put("keys/signed", {"signed_prekey": fresh}).status == 204
    assert bob_phone.http.put("keys", {"last_resort_prekey": resort}).status == 200
    assert upload(bob_phone, first=100).body["count"] == 0, "these two told nothing of one-time keys"
    bundle = fetch(alice_phone, bob_phone)
    assert (bundle["signed_prekey"], bundle["last_resort_prekey"]) == (fresh, resort)


def test_signing_in_again_with_the_same_identity_revives_no_key_either(bob_phone: Installation) -> None:
    era_passes()
    bob_phone.register(prekeys=5)
    assert bob_phone.http.get("keys/count").body["count"] == 0
    bob_phone.http.put("keys", {"one_time_prekeys": [bob_phone.keys.prekey() for _ in range(5)]})
    assert bob_phone.http.get("keys/count").body["count"] == 5


def test_a_new_installation_has_no_past(bob_phone: Installation) -> None:
    era_passes()
    assert bob_phone.reinstalled().register(prekeys=5).http.get("keys/count").body["count"] == 5
    assert Installation().register(prekeys=5).http.get("keys/count").body["count"] == 5


def test_no_device_gets_an_id_that_was_given_in_what_was_lost(bob_phone: Installation) -> None:
    era_passes()
    first, second = Installation().register(), Installation().register()
    assert int(first.device_id) > int(bob_phone.device_id) + eras.SKIPPED_IDS
    assert int(second.device_id) == int(first.device_id) + 1


def test_the_operators_word_empties_the_pools(bob_phone: Installation) -> None:
    assert restoring.forget_one_time_prekeys() == 10
    assert bob_phone.http.get("keys/count").body["count"] == 0


@pytest.fixture
def serving() -> Iterator[Mark]:
    """This process serves, and has compared; what it knows."""
    guard.serve()
    with connection.cursor() as cursor:
        cursor.execute(lineage_guard.BEAT, [0])
        guard.accept(Mark(*cursor.fetchone()))
    assert guard.known
    yield guard.known
    guard.rest()


def test_a_copy_that_was_put_back_hands_out_nothing_though_nobody_has_noticed_it_yet(
    alice_phone: Installation, bob_phone: Installation, serving: Mark
) -> None:
    assert "one_time_prekey" in fetch(alice_phone, bob_phone)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_beat SET beat = %s", [serving.beat - 1])
    refused = alice_phone.http.get(f"keys/{bob_phone.user_id}/{bob_phone.device_id}")
    assert (refused.status, refused.code) == (503, "STORAGE_UNAVAILABLE")
    assert "has gone back" in str(guard.complaint)
    guard.rest()
    assert bob_phone.http.get("keys/count").body["count"] == 9


def test_a_process_that_has_not_compared_yet_hands_out_nothing(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    guard.serve()
    try:
        assert alice_phone.http.get(f"keys/{bob_phone.user_id}/*").code == "STORAGE_UNAVAILABLE"
    finally:
        guard.rest()


def test_the_first_keys_of_a_device_are_of_the_era_it_signs_in_in(bob_phone: Installation) -> None:
    device = Device.objects.get(pk=bob_phone.device_id)
    assert (device.prekeys_era, device.pq_prekeys_era) == (eras.present(), eras.present())
