"""Mallory and the keys: draining pools, forging signatures, keys that are none, saying things again, and saying nonsense."""

import base64
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from devices.models import OneTimePrekey, SignedPrekey
from tests.cast import Answer, Installation, JsonObject, Keys, b64
from tests.conversations_of import direct

pytestmark = pytest.mark.django_db

P = 2**255 - 19
# The order of the group that signatures are made in: RFC 8032, section 5.1.
L = 2**252 + 27742317777372353535851937790883648493


def fetch(caller: Installation, target: Installation, device: str | None = None) -> Answer:
    return caller.http.get(f"keys/{target.user_id}/{device or target.device_id}")


def left(phone: Installation) -> int:
    return int(phone.http.get("keys/count").body["count"])


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Each in a thread of its own."""

    def one(call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as crowd:
        return list(crowd.map(one, calls))


# --- draining ------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_one_account_that_asks_many_times_at_once_gets_six_keys(bob_phone: Installation, mallory: Installation) -> None:
    answers = at_once([lambda: fetch(mallory, bob_phone)] * 24)
    statuses = Counter(answer.status for answer in answers)
    # On a busy machine Redis may take longer than anybody waits for it: then nothing is given.
    assert statuses.keys() <= {200, 429, 503}
    assert 1 <= statuses[200] <= 6
    assert left(bob_phone) == 10 - statuses[200]


def test_many_accounts_get_sixty_keys_an_hour_and_leave_the_rest(services: None, settings: Any) -> None:
    # As if they were ever more: few accounts, each of which may ask as often as it likes.
    settings.LIMITS = settings.LIMITS | {"BUNDLES_PER_10_MIN": [0]}
    bob = Installation().register(prekeys=90)
    crowd = [Installation(name=f"Mallory's phone {number}").register(prekeys=0) for number in range(3)]
    statuses = Counter(fetch(mallory, bob).status for _ in range(22) for mallory in crowd)
    assert statuses == {200: 60, 429: 6}
    assert left(bob) == 30


def test_strangers_who_use_up_an_hour_shut_out_strangers_and_nobody_who_talks_with_the_target(
    services: None, settings: Any, mallory: Installation, alice_phone: Installation
) -> None:
    settings.LIMITS = settings.LIMITS | {"BUNDLES_PER_TARGET_HOUR": [3]}
    bob = Installation()
    resort, pq_resort = bob.keys.signed_prekey(70), bob.keys.pq_prekey(70)
    bob.register(pq_prekeys=[bob.keys.pq_prekey(1)], last_resort_prekey=resort, pq_last_resort_prekey=pq_resort)
    laptop = bob.beside("Bob's laptop").register()
    direct(alice_phone, bob)
    assert [fetch(mallory, bob).status for _ in range(4)] == [200] * 3 + [429]
    before = left(bob)
    for caller, device in ((alice_phone, None), (alice_phone, "*"), (laptop, None)):
        answer = fetch(caller, bob, device)
        assert answer.status == 200, answer
        bundle = next(one for one in answer.body["devices"] if one["device_id"] == bob.device_id)
        assert "one_time_prekey" not in bundle
        assert (bundle["last_resort_prekey"], bundle["pq_prekey"]) == (resort, pq_resort)
    assert left(bob) == before, "and no key more is gone"
    assert fetch(Installation().register(), bob).status == 429
    assert left(laptop) == 9, "its own hour had only begun"


def test_many_devices_of_one_account_do_not_use_up_an_hour(bob_phone: Installation, mallory: Installation) -> None:
    crowd = [mallory, *(mallory.beside(f"tablet {number}").register(prekeys=0) for number in range(2))]
    statuses = Counter(fetch(device, bob_phone).status for _ in range(6) for device in crowd)
    assert statuses == {200: 9, 429: 9}
    assert fetch(crowd[2], mallory).status == 200, "each target is counted by itself"


def test_many_devices_of_somebody_it_talks_with_get_bundles_without_its_keys(
    bob_phone: Installation, alice_phone: Installation
) -> None:
    crowd = [alice_phone, *(alice_phone.beside(f"tablet {number}").register(prekeys=0) for number in range(2))]
    direct(alice_phone, bob_phone)
    statuses = Counter(fetch(device, bob_phone).status for _ in range(5) for device in crowd)
    assert (statuses, left(bob_phone)) == ({200: 15}, 10 - 9)


def test_whoever_is_refused_takes_nothing_from_any_device(mallory: Installation, bob_phone: Installation) -> None:
    tablet = bob_phone.beside("Bob's tablet").register()
    for _ in range(6):
        fetch(mallory, bob_phone)
    before = (left(bob_phone), left(tablet))
    for _ in range(10):
        assert fetch(mallory, bob_phone, "*").code == "RATE_LIMITED"
    assert (left(bob_phone), left(tablet)) == before
    assert fetch(mallory, tablet).status == 200


def test_nobody_drains_without_a_token_or_by_asking_in_another_way(
    mallory: Installation, bob_phone: Installation
) -> None:
    path = f"keys/{bob_phone.user_id}/{bob_phone.device_id}"
    assert Installation().http.get(path).status == 401
    assert {mallory.http.send(method, path).status for method in ("HEAD", "POST", "PUT", "DELETE")} == {405}
    mallory.http.post("auth/logout")
    assert mallory.http.get(path).status == 401
    assert left(bob_phone) == 10


@pytest.mark.django_db(transaction=True)
def test_fetching_and_uploading_at_once_gives_every_key_once(bob_phone: Installation) -> None:
    callers = [Installation(name=f"caller {number}").register(prekeys=0) for number in range(8)]
    batches = [[bob_phone.keys.prekey() for _ in range(5)] for _ in range(4)]

    def upload(batch: list[JsonObject]) -> Callable[[], Answer]:
        return lambda: bob_phone.http.put("keys", {"one_time_prekeys": batch})

    def take(caller: Installation) -> Callable[[], Answer]:
        return lambda: fetch(caller, bob_phone)

    answers = at_once(
        [
            call
            for turn in zip(batches * 2, callers, strict=True)
            for call in (upload(turn[0]), take(turn[1]), take(turn[1]))
        ]
    )
    assert {answer.status for answer in answers} <= {200, 503}
    given = [answer.body["devices"][0].get("one_time_prekey") for answer in answers if "devices" in answer.body]
    ids = [key["key_id"] for key in given if key]
    assert ids
    assert len(ids) == len(set(ids))
    kept = OneTimePrekey.objects.filter(device_id=bob_phone.device_id).values_list("key_id", flat=True)
    assert not set(ids) & set(kept)


# --- forging -------------------------------------------------------------------------------------------------------------------


def signature_of(signed: JsonObject) -> bytes:
    return base64.b64decode(signed["signature"])


def forgeries(own: Keys) -> Iterator[tuple[str, JsonObject]]:
    """Signed prekeys that are not what the owner of the identity key has signed."""
    good, other = own.signed_prekey(50), own.signed_prekey(51)
    raw = signature_of(good)
    scalar = int.from_bytes(raw[32:], "little")
    yield "by somebody else", Keys().signed_prekey(50)
    yield "of another key", good | {"signature": other["signature"]}
    yield (
        "of the key without its type byte",
        good | {"signature": b64(own.sign(base64.b64decode(good["public_key"])[1:]))},
    )
    yield "nothing", good | {"signature": ""}
    yield "zeros", good | {"signature": b64(bytes(64))}
    yield "too short", good | {"signature": b64(raw[:-1])}
    yield "too long", good | {"signature": b64(raw + b"\x00")}
    yield "the same with another scalar", good | {"signature": b64(raw[:32] + (scalar + L).to_bytes(32, "little"))}
    yield "with the sign turned", good | {"signature": b64(raw[:63] + bytes([raw[63] ^ 0x80]))}
    yield "halves exchanged", good | {"signature": b64(raw[32:] + raw[:32])}


def test_no_forged_signature_is_taken_for_any_key_that_is_signed(bob_phone: Installation) -> None:
    before = stored(bob_phone)
    for name, forged in forgeries(bob_phone.keys):
        signed = bob_phone.http.put("keys/signed", {"signed_prekey": forged})
        assert (signed.status, signed.body["field"]) == (422, "signed_prekey.signature"), name
        resort = bob_phone.http.put("keys", {"last_resort_prekey": forged})
        assert (resort.status, resort.body["field"]) == (422, "last_resort_prekey.signature"), name
    pq = bob_phone.keys.pq_prekey(1)
    for name, forged in (
        ("by somebody else", Keys().pq_prekey(1)),
        ("of another key", pq | {"public_key": bob_phone.keys.pq_prekey(1)["public_key"]}),
    ):
        assert bob_phone.http.put("keys", {"pq_last_resort_prekey": forged}).code == "INVALID_SIGNATURE", name
        refused = bob_phone.http.put("keys", {"pq_prekeys": [pq, forged]})
        assert refused.body["field"] == "pq_prekeys.1.signature", name
    assert stored(bob_phone) == before


def stored(phone: Installation) -> tuple[set[Any], set[Any]]:
    signed = SignedPrekey.objects.filter(device_id=phone.device_id).values_list("kind", "key_id")
    one_time = OneTimePrekey.objects.filter(device_id=phone.device_id).values_list("kind", "key_id")
    return set(signed), set(one_time)


def no_curve_keys() -> Iterator[tuple[str, bytes]]:
    good = Keys().identity_key
    low_order = (0, 1, P - 1, 325606250916557431795983626356110631294008115727848805560023387167927233504)
    yield "empty", b""
    yield "without its type byte", good[1:]
    yield "too short", good[:-1]
    yield "too long", good + b"\x00"
    yield "of another type", b"\x06" + good[1:]
    yield "of the post-quantum type", b"\x08" + good[1:]
    yield "of a type in capitals", b"\x85" + good[1:]
    for value in low_order:
        yield f"of low order {value % 1000}", b"\x05" + value.to_bytes(32, "little")
    # The same points, and the base point, in second forms.
    for value in (P, P + 1, P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1):
        yield f"in a second form {value % 1000}", b"\x05" + value.to_bytes(32, "little")


def test_what_is_no_curve_key_is_not_taken_wherever_one_belongs(bob_phone: Installation) -> None:
    before = stored(bob_phone)
    for name, raw in no_curve_keys():
        signed = {"key_id": 60, "public_key": b64(raw), "signature": b64(bob_phone.keys.sign(raw))}
        pool = [bob_phone.keys.prekey(60), {"key_id": 61, "public_key": b64(raw)}]
        for path, body, field in (
            ("keys/signed", {"signed_prekey": signed}, "signed_prekey"),
            ("keys", {"last_resort_prekey": signed}, "last_resort_prekey"),
            ("keys", {"one_time_prekeys": pool}, "one_time_prekeys.1"),
        ):
            refused = bob_phone.http.put(path, body)
            assert (refused.status, refused.body.get("field")) == (422, f"{field}.public_key"), (name, path)
    assert stored(bob_phone) == before


def test_what_is_no_curve_key_is_nobodys_identity(services: None) -> None:
    bob = Installation()
    token = bob.prove_number()
    for name, raw in no_curve_keys():
        device = bob.device_input(1, identity_key=b64(raw))
        refused = bob.http.post("auth/register-device", {"registration_token": token, "device": device})
        assert (refused.status, refused.body["field"]) == (422, "device.identity_key"), name


@pytest.mark.parametrize(
    "raw", [b"", b"\x08", b"\x08" + bytes(1567), b"\x08" + bytes(1569), b"\x05" + bytes(1568), bytes(1569)]
)
def test_what_has_not_the_form_of_a_kyber_key_is_not_taken(bob_phone: Installation, raw: bytes) -> None:
    signed = {"key_id": 60, "public_key": b64(raw), "signature": b64(bob_phone.keys.sign(raw))}
    for body, field in (
        ({"pq_last_resort_prekey": signed}, "pq_last_resort_prekey"),
        ({"pq_prekeys": [signed]}, "pq_prekeys.0"),
    ):
        refused = bob_phone.http.put("keys", body)
        assert (refused.status, refused.body["field"]) == (422, f"{field}.public_key")


# --- saying things again -------------------------------------------------------------------------------------------------------


def test_everything_a_device_ever_uploaded_said_again_changes_nothing(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    keys, recorded = bob_phone.keys, list[tuple[str, JsonObject]]()
    for number in range(3):
        recorded += [
            ("keys", {"one_time_prekeys": [keys.prekey() for _ in range(4)], "pq_prekeys": [keys.pq_prekey(number)]}),
            (
                "keys",
                {"last_resort_prekey": keys.signed_prekey(), "pq_last_resort_prekey": keys.pq_prekey(90 + number)},
            ),
            ("keys/signed", {"signed_prekey": keys.signed_prekey()}),
        ]
    for path, body in recorded:
        assert bob_phone.http.put(path, body).status in {200, 204}
    taken = [fetch(alice_phone, bob_phone).body["devices"][0] for _ in range(4)]
    before = stored(bob_phone)
    for path, body in recorded * 2 + recorded[::-1]:
        assert bob_phone.http.put(path, body).status in {200, 204}
    assert stored(bob_phone) == before
    [later] = fetch(alice_phone, bob_phone).body["devices"]
    assert later["one_time_prekey"]["key_id"] not in {bundle["one_time_prekey"]["key_id"] for bundle in taken}
    assert later["signed_prekey"] == recorded[-1][1]["signed_prekey"]


# --- pushing numbers -----------------------------------------------------------------------------------------------------------

LAST_ID = 2**24 - 1


def put_ids(phone: Installation, *key_ids: int, kind: str = "one_time_prekeys") -> Answer:
    make = phone.keys.prekey if kind == "one_time_prekeys" else phone.keys.pq_prekey
    return phone.http.put("keys", {kind: [make(key_id) for key_id in key_ids]})


@pytest.mark.parametrize("kind", ["one_time_prekeys", "pq_prekeys"])
@pytest.mark.parametrize("far", [2**17, 2**23, LAST_ID - 2**16, LAST_ID])
def test_nobody_pushes_the_highest_number_out_of_reach_of_the_device(services: None, kind: str, far: int) -> None:
    """Mallory has Bob's access token for ten minutes; Bob's phone counts on, and then leaps to the last numbers."""
    bob = Installation()
    bob.register(prekeys=3, pq_prekeys=[bob.keys.pq_prekey(number) for number in range(1, 4)])
    assert sum(put_ids(bob, far, kind=kind).body.values()) == 7, "any number above is taken"
    assert sum(put_ids(bob, far, kind=kind).body.values()) == 7
    counted_on = sum(put_ids(bob, 100, 101, kind=kind).body.values())
    assert counted_on == (9 if far == LAST_ID else 7)
    assert sum(
        put_ids(bob, *range(LAST_ID - 2**16 + 200, LAST_ID - 2**16 + 210), kind=kind).body.values()
    ) == counted_on + (0 if far == LAST_ID else 10)


def test_nobody_leaps_often(bob_phone: Installation, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"PREKEY_LEAPS_PER_DAY": [2]}
    assert [put_ids(bob_phone, 60_000 * step).status for step in (1, 2, 3)] == [200, 200, 429]
    assert put_ids(bob_phone, 120_256).body["count"] == 13, "whoever counts is not held up"


def test_whoever_signs_in_again_may_begin_anywhere_above(bob_phone: Installation) -> None:
    bob_phone.register(one_time_prekeys=[bob_phone.keys.prekey(2**23)])
    assert left(bob_phone) == 11
    assert put_ids(bob_phone, 2**23 + 1).body["count"] == 12


def test_a_client_that_began_near_the_end_counts_round(alice_phone: Installation, services: None) -> None:
    bob = Installation()
    bob.register(one_time_prekeys=[bob.keys.prekey(number) for number in (LAST_ID - 1, LAST_ID, 1)])
    assert put_ids(bob, LAST_ID - 1, LAST_ID, 1).body["count"] == 3, "said again"
    assert put_ids(bob, 2, 3).body["count"] == 5
    taken = [one["one_time_prekey"]["key_id"] for one in (fetch(alice_phone, bob).body["devices"][0] for _ in range(5))]
    assert sorted(taken) == [1, 2, 3, LAST_ID - 1, LAST_ID]
    assert put_ids(bob, LAST_ID - 1, LAST_ID, 1, 2, 3).body["count"] == 0, "and said again when they are gone"
    assert put_ids(bob, *range(4, 104)).body["count"] == 100


def test_of_too_many_the_oldest_go_also_round_the_end(alice_phone: Installation, services: None) -> None:
    bob = Installation()
    bob.register(one_time_prekeys=[bob.keys.prekey(LAST_ID - number) for number in range(10)])
    for first in (1, 101):
        put_ids(bob, *range(first, first + 100))
    kept = OneTimePrekey.objects.filter(device_id=bob.device_id).values_list("key_id", flat=True)
    assert set(kept) == set(range(1, 201))


# --- nonsense ------------------------------------------------------------------------------------------------------------------

NONSENSE: tuple[Any, ...] = (5, -1, 2**24, 1.5, True, "x", "\u00e4", [], [None], {})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document where something stands, the outer ones too."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inside:
        yield from places(item, (*path, name))


def put_at(document: JsonObject, path: tuple[Any, ...], value: Any) -> JsonObject:
    changed: Any = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return dict(changed)


def mutants(document: JsonObject) -> Iterator[tuple[tuple[Any, ...], Any, JsonObject]]:
    for path in places(document):
        for value in (None, *NONSENSE):
            yield path, value, put_at(document, path, value)


def means_something(path: tuple[Any, ...], value: Any) -> bool:
    """What is no nonsense after all: a number where one belongs, an empty list, an empty text that is base64, null for "left out"."""
    kind = path[-1]
    if kind == "key_id":
        return value == 5 and value is not True
    if kind in {"one_time_prekeys", "pq_prekeys"}:
        return value in ([], None)
    return value is None and len(path) == 1


def test_nonsense_in_any_field_of_an_upload_is_refused_and_keeps_the_rest_out(bob_phone: Installation) -> None:
    keys = bob_phone.keys
    resorts = {"last_resort_prekey": keys.signed_prekey(70), "pq_last_resort_prekey": keys.pq_prekey(70)}
    body = {"one_time_prekeys": [keys.prekey(71)], "pq_prekeys": [keys.pq_prekey(71)]} | resorts
    before, tried = stored(bob_phone), 0
    for path, value, mutant in mutants(body):
        if not means_something(path, value):
            tried += 1
            answer = bob_phone.http.put("keys", mutant)
            assert answer.status in {400, 422}, (path, value, answer)
            assert answer.body["field"].startswith(str(path[0])), (path, value, answer)
    assert tried > 100
    assert stored(bob_phone) == before


def test_nonsense_in_any_other_body_about_keys_is_refused(bob_phone: Installation) -> None:
    before = stored(bob_phone)
    bodies: tuple[tuple[Callable[[JsonObject], Answer], JsonObject], ...] = (
        (lambda body: bob_phone.http.put("keys/signed", body), {"signed_prekey": bob_phone.keys.signed_prekey(70)}),
        (lambda body: bob_phone.http.post("keys/check", body), {"digest": b64(bytes(32))}),
    )
    for send, body in bodies:
        for path, value, mutant in mutants(body):
            if path[-1] != "key_id" or value != 5 or value is True:
                answer = send(mutant)
                assert answer.status in {400, 422}, (path, value, answer)
        assert send({}).status == 400
    assert stored(bob_phone) == before


def test_nonsense_in_any_field_of_a_registration_is_refused_before_its_token_is_looked_at(services: None) -> None:
    bob = Installation()
    pq = {"pq_prekeys": [bob.keys.pq_prekey(1)], "pq_last_resort_prekey": bob.keys.pq_prekey(2)}
    device = bob.device_input(1, last_resort_prekey=bob.keys.signed_prekey(9), **pq)
    optional = {"last_resort_prekey", "pq_last_resort_prekey", "pq_prekeys"}
    for path, value, mutant in mutants(device):
        answer = bob.http.post("auth/register-device", {"registration_token": "none", "device": mutant})
        assert answer.status in {400, 401}, (path, value, answer)
        if value is None and not (len(path) == 1 and path[0] in optional):
            assert (answer.status, answer.body.get("field", "").split(".")[0]) == (400, "device"), (path, answer)
