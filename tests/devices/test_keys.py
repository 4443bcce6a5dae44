"""Prekeys: uploaded once, handed out once, and never drained by one caller."""

import base64
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import TestCase

from accounts import relationships
from devices.models import OneTimePrekey, SignedPrekey
from devices.signals import prekeys_low
from tests.cast import Answer, Installation, b64
from tests.linking import patiently

pytestmark = pytest.mark.django_db


def fetch(caller: Installation, target: Installation, device: str | None = None) -> Answer:
    return caller.http.get(f"keys/{target.user_id}/{device or target.device_id}")


def one_time_key(answer: Answer) -> Any:
    return answer.body["devices"][0].get("one_time_prekey")


def test_a_bundle_has_what_a_session_needs(alice_phone: Installation, services: None) -> None:
    bob = Installation(name="Bob's phone")
    last_resort, pq_last_resort = bob.keys.signed_prekey(500), bob.keys.pq_prekey(500)
    pq = bob.keys.pq_prekey(1)
    bob.register(prekeys=1, last_resort_prekey=last_resort, pq_prekeys=[pq], pq_last_resort_prekey=pq_last_resort)
    first, second = fetch(alice_phone, bob).body, fetch(alice_phone, bob).body
    [bundle], [later] = first["devices"], second["devices"]
    assert first["user_id"] == bob.user_id
    assert bundle["identity_key"] == b64(bob.keys.identity_key)
    assert (bundle["device_id"], bundle["device_uuid"]) == (bob.device_id, bob.device_uuid)
    assert (bundle["registration_id"], bundle["device_number"], bundle["is_primary"]) == (bob.registration_id, 1, True)
    assert bundle["signed_prekey"].keys() == {"key_id", "public_key", "signature"}
    assert bundle["one_time_prekey"].keys() == {"key_id", "public_key"}
    assert "last_resort_prekey" not in bundle
    assert bundle["pq_prekey"] == pq
    # A proxy that kept it would hand it out twice.
    assert fetch(alice_phone, bob).headers["Cache-Control"] == "no-store"
    assert "one_time_prekey" not in later
    assert later["last_resort_prekey"] == last_resort
    assert later["pq_prekey"] == pq_last_resort


def test_without_a_last_resort_an_empty_pool_gives_a_bundle_without_one(
    alice_phone: Installation, services: None
) -> None:
    bob = Installation().register(prekeys=0)
    [bundle] = fetch(alice_phone, bob).body["devices"]
    assert not bundle.keys() & {"one_time_prekey", "last_resort_prekey", "pq_prekey"}


@pytest.mark.django_db(transaction=True)
def test_sixty_fetches_at_once_take_fifty_different_keys(bob_phone: Installation, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"BUNDLES_PER_10_MIN": [0], "BUNDLES_PER_TARGET_HOUR": [0]}
    bob_phone.http.put("keys", {"one_time_prekeys": [bob_phone.keys.prekey() for _ in range(40)]})
    callers = [Installation(name=f"caller {number}").register(prekeys=0) for number in range(4)] * 15

    def one(caller: Installation) -> Answer:
        try:
            return patiently(lambda: fetch(caller, bob_phone))
        finally:
            connection.close()

    with ThreadPoolExecutor(30) as crowd:
        answers = list(crowd.map(one, callers))
    assert Counter(answer.status for answer in answers) == {200: 60}
    keys = [one_time_key(answer) for answer in answers]
    given = [key["key_id"] for key in keys if key]
    assert (len(given), len(set(given)), keys.count(None)) == (50, 50, 10)
    assert not OneTimePrekey.objects.filter(device_id=bob_phone.device_id).exists()


def test_a_star_gives_all_devices_and_of_oneself_the_others(alice_phone: Installation, bob_phone: Installation) -> None:
    assert fetch(alice_phone, alice_phone, "*").body == {"user_id": alice_phone.user_id, "devices": []}
    laptop = alice_phone.beside().register()
    assert {bundle["device_id"] for bundle in fetch(bob_phone, alice_phone, "*").body["devices"]} == {
        alice_phone.device_id,
        laptop.device_id,
    }
    assert [bundle["device_id"] for bundle in fetch(alice_phone, alice_phone, "*").body["devices"]] == [
        laptop.device_id
    ]


def test_a_caller_gets_six_bundles_of_a_device_in_ten_minutes(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    assert [fetch(alice_phone, bob_phone).status for _ in range(6)] == [200] * 6
    refused = fetch(alice_phone, bob_phone)
    assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    assert 0 < refused.body["retry_after_seconds"] <= 600
    assert refused.headers["Retry-After"] == str(refused.body["retry_after_seconds"])


def test_one_device_over_its_limit_and_nothing_is_taken(alice_phone: Installation, bob_phone: Installation) -> None:
    laptop = bob_phone.beside().register()
    for _ in range(6):
        fetch(alice_phone, bob_phone)
    assert fetch(alice_phone, bob_phone, "*").code == "RATE_LIMITED"
    assert laptop.http.get("keys/count").body["count"] == 10
    assert [fetch(alice_phone, laptop).status for _ in range(7)] == [200] * 6 + [429], (
        "the refusal cost the laptop nothing"
    )


def test_a_target_gives_sixty_bundles_an_hour_whoever_asks(
    bob_phone: Installation, alice_phone: Installation, settings: Any
) -> None:
    settings.LIMITS = settings.LIMITS | {"BUNDLES_PER_TARGET_HOUR": [3], "BUNDLES_PER_10_MIN": [0]}
    mallory = Installation().register()
    assert [fetch(caller, bob_phone).status for caller in (alice_phone, mallory, alice_phone)] == [200] * 3
    assert fetch(mallory, bob_phone).code == "RATE_LIMITED"


def test_without_redis_no_key_is_handed_out(alice_phone: Installation, bob_phone: Installation, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock"
    assert fetch(alice_phone, bob_phone).code == "STORAGE_UNAVAILABLE"
    assert bob_phone.http.get("keys/count").body["count"] == 10


def test_unknown_unlinked_and_malformed_devices_are_the_same_nothing(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    laptop = alice_phone.beside().register()
    alice_phone.http.delete(f"devices/{alice_phone.device_id}")
    paths = [
        f"keys/{alice_phone.user_id}/{alice_phone.device_id}",
        f"keys/{alice_phone.user_id}/{bob_phone.device_id}",
        f"keys/{bob_phone.device_uuid}/*",
        f"keys/{bob_phone.device_uuid}/identities",
        f"keys/{alice_phone.user_id}/x",
        f"keys/{alice_phone.user_id.upper()}/*",
        "keys/x/*",
    ]
    answers = [bob_phone.http.get(path) for path in paths]
    assert {(answer.status, str(answer.body)) for answer in answers} == {(404, str(answers[0].body))}
    assert laptop.http.get(f"keys/{alice_phone.user_id}/identities").body["devices"][0]["device_id"] == laptop.device_id


@pytest.mark.parametrize("blocker", ["alice", "bob"])
def test_where_one_blocks_the_other_there_is_no_bundle_and_none_is_taken(
    alice_phone: Installation, bob_phone: Installation, blocker: str
) -> None:
    nobody = fetch(alice_phone, bob_phone, "1")
    one, other = (alice_phone, bob_phone) if blocker == "alice" else (bob_phone, alice_phone)
    relationships.block(UUID(one.user_id), UUID(other.user_id))
    for device in ("*", bob_phone.device_id):
        refused = fetch(alice_phone, bob_phone, device)
        assert (refused.status, refused.body) == (404, nobody.body)
    assert fetch(bob_phone, alice_phone, "*").status == 404
    assert bob_phone.http.get("keys/count").body["count"] == 10
    relationships.end(UUID(one.user_id), UUID(other.user_id))
    assert fetch(alice_phone, bob_phone).status == 200


def test_identities_take_no_key(alice_phone: Installation, bob_phone: Installation) -> None:
    [identity] = alice_phone.http.get(f"keys/{bob_phone.user_id}/identities").body["devices"]
    assert identity == {
        "device_id": bob_phone.device_id,
        "device_number": 1,
        "registration_id": bob_phone.registration_id,
        "identity_key": b64(bob_phone.keys.identity_key),
        "is_primary": True,
    }
    assert bob_phone.http.get("keys/count").body["count"] == 10


def test_an_upload_adds_what_is_new_and_skips_what_was_there(bob_phone: Installation) -> None:
    more = [bob_phone.keys.prekey() for _ in range(5)]
    assert bob_phone.http.put("keys", {"one_time_prekeys": more}).body == {"count": 15, "pq_count": 0}
    assert bob_phone.http.put("keys", {"one_time_prekeys": more}).body == {"count": 15, "pq_count": 0}
    assert bob_phone.http.put("keys", {"pq_prekeys": [bob_phone.keys.pq_prekey(1)]}).body == {
        "count": 15,
        "pq_count": 1,
    }
    assert bob_phone.http.put("keys").body == {"count": 15, "pq_count": 1}


def test_a_pool_keeps_the_newest_two_hundred(alice_phone: Installation, bob_phone: Installation) -> None:
    for _ in range(2):
        bob_phone.http.put("keys", {"one_time_prekeys": [bob_phone.keys.prekey() for _ in range(100)]})
    assert bob_phone.http.get("keys/count").body["count"] == 200
    # Keys 2 to 11 came with the registration and were the oldest.
    assert one_time_key(fetch(alice_phone, bob_phone))["key_id"] == 12


def test_a_bad_key_in_an_upload_stores_none_of_it(bob_phone: Installation) -> None:
    body = {"one_time_prekeys": [bob_phone.keys.prekey()], "pq_prekeys": [Installation().keys.pq_prekey(1)]}
    refused = bob_phone.http.put("keys", body)
    assert (refused.code, refused.body["field"]) == ("INVALID_SIGNATURE", "pq_prekeys.0.signature")
    assert bob_phone.http.get("keys/count").body == {"count": 10, "pq_count": 0}


def test_the_signed_prekey_is_replaced(alice_phone: Installation, bob_phone: Installation) -> None:
    fresh = bob_phone.keys.signed_prekey(77)
    assert bob_phone.http.put("keys/signed", {"signed_prekey": fresh}).status == 204
    assert fetch(alice_phone, bob_phone).body["devices"][0]["signed_prekey"] == fresh
    forged = Installation().keys.signed_prekey(78)
    assert bob_phone.http.put("keys/signed", {"signed_prekey": forged}).body["field"] == "signed_prekey.signature"


def test_a_signed_prekey_that_was_replaced_does_not_come_back(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    """A request that was delayed on its way, or recorded and said again by somebody."""
    first, second = bob_phone.keys.signed_prekey(77), bob_phone.keys.signed_prekey(78)
    for prekey in (first, second, first, second):
        assert bob_phone.http.put("keys/signed", {"signed_prekey": prekey}).status == 204
        assert bob_phone.http.put("keys", {"last_resort_prekey": prekey}).status == 200
    assert fetch(alice_phone, bob_phone).body["devices"][0]["signed_prekey"] == second
    kept = SignedPrekey.objects.filter(device_id=bob_phone.device_id)
    assert {row.kind: row.key_id for row in kept} == {"signed": 78, "last_resort": 78}


def test_a_device_that_signs_in_once_more_may_go_back_to_a_former_key(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    """Restored from a backup of its own, it has the private side of no other."""
    first, second = bob_phone.keys.signed_prekey(77), bob_phone.keys.signed_prekey(78)
    for prekey in (first, second):
        bob_phone.http.put("keys/signed", {"signed_prekey": prekey})
    bob_phone.register(signed_prekey=first)
    assert fetch(alice_phone, bob_phone).body["devices"][0]["signed_prekey"] == first


def test_a_former_signed_prekey_is_known_for_many_rotations(bob_phone: Installation) -> None:
    signed = [bob_phone.keys.signed_prekey(number) for number in range(100, 134)]
    for prekey in signed:
        bob_phone.http.put("keys/signed", {"signed_prekey": prekey})
    bob_phone.http.put("keys/signed", {"signed_prekey": signed[2]})
    row = SignedPrekey.objects.get(device_id=bob_phone.device_id, kind="signed")
    assert (row.key_id, len(row.former)) == (133, 32)


def test_a_device_with_few_post_quantum_prekeys_is_asked_for_more(alice_phone: Installation, services: None) -> None:
    bob = Installation()
    bob.register(prekeys=30, pq_prekeys=[bob.keys.pq_prekey(number) for number in range(2)])
    carol = Installation().register(prekeys=30)
    heard: list[tuple[str, int, int]] = []

    def hear(*, device_id: int, count: int, pq_count: int, **_: Any) -> None:
        heard.append((str(device_id), count, pq_count))

    prekeys_low.connect(hear)
    try:
        with TestCase.captureOnCommitCallbacks(execute=True):
            fetch(alice_phone, bob)
            fetch(alice_phone, carol)
    finally:
        prekeys_low.disconnect(hear)
    assert heard == [(bob.device_id, 29, 1)], "who has none is not asked for them"


def test_a_client_sees_whether_the_server_has_its_keys(services: None) -> None:
    bob = Installation()
    signed, last_resort, pq_last_resort = bob.keys.signed_prekey(3), bob.keys.signed_prekey(4), bob.keys.pq_prekey(5)
    bob.register(signed_prekey=signed, last_resort_prekey=last_resort, pq_last_resort_prekey=pq_last_resort)

    def digest(*prekeys: Any) -> str:
        parts = [key["key_id"].to_bytes(4, "big") + base64.b64decode(key["public_key"]) for key in prekeys]
        return b64(hashlib.sha256(bob.keys.identity_key + b"".join(parts)).digest())

    assert bob.http.post("keys/check", {"digest": digest(signed, last_resort, pq_last_resort)}).body == {
        "result": "same"
    }
    assert bob.http.post("keys/check", {"digest": digest(signed, last_resort)}).body == {"result": "differs"}
    assert bob.http.post("keys/check", {"digest": b64(b"short")}).body["field"] == "digest"
