"""Mallory wants a device in Alice's account. She may have seen the code, the link's id, or hold one of Alice's other devices."""

import uuid
from typing import Any

import pytest

from devices.models import Device, Link, TokenPair
from devices.public_keys import fingerprint
from tests.cast import Answer, Http, Installation, Keys, b64
from tests.linking import Linking, at_once, linked, patiently
from tests.vouching import signature_of, statement

pytestmark = pytest.mark.django_db


@pytest.fixture
def link(alice_phone: Installation) -> Linking:
    """Alice's phone shows a code for her laptop."""
    return Linking(alice_phone)


def statuses(answers: list[Answer]) -> list[int]:
    return sorted(answer.status for answer in answers)


def test_whoever_claims_a_stolen_token_first_is_shown_by_fingerprint_and_rejected(link: Linking) -> None:
    mallory = Installation(name="Alice's laptop")
    stolen = link.claim(mallory)
    assert stolen.status == 201
    late = link.claim()
    assert (late.status, late.code) == (409, "CONFLICT"), "the laptop's owner notices"
    shown = link.look().body["claimant"]["fingerprint"]
    assert shown == fingerprint(mallory.keys.identity_key) != fingerprint(link.laptop.keys.identity_key)
    assert link.reject().status == 200
    assert link.fetch(stolen.body["claim_secret"]).body["status"] == "rejected"
    assert Device.objects.filter(active=True).count() == 1


def test_a_second_claim_changes_nothing(link: Linking) -> None:
    link.claimed()
    before = Link.objects.values().get()
    assert link.claim(Installation(name="Mallory")).status == 409
    assert link.claim().status == 409, "not even the same one's"
    assert Link.objects.values().get() == before
    link.approved()
    assert link.claim(Installation(name="Mallory")).status == 409
    assert link.completed().http.get("profile").status == 200
    assert link.claim(Installation(name="Mallory")).status == 409


@pytest.mark.django_db(transaction=True)
def test_of_many_claims_at_once_one_wins(link: Linking) -> None:
    answers = at_once(10, lambda: patiently(lambda: link.claim(Installation(name="a claimant"))))
    assert statuses(answers) == [201] + [409] * 9
    [won] = [answer for answer in answers if answer.status == 201]
    assert link.fetch(won.body["claim_secret"]).body["status"] == "claimed"


@pytest.mark.django_db(transaction=True)
def test_of_many_fetches_at_once_one_gets_the_tokens(link: Linking) -> None:
    link.claimed().approved()
    answers = at_once(20, lambda: patiently(link.fetch))
    assert statuses(answers) == [200] * 20
    [got] = [answer.body["registration"] for answer in answers if "registration" in answer.body]
    assert {answer.body["status"] for answer in answers} == {"completed"}
    assert TokenPair.objects.filter(device_id=got["device_id"]).count() == 1
    assert Http(got["access_token"]).get("profile").status == 200


@pytest.mark.django_db(transaction=True)
def test_of_many_approvals_at_once_there_is_one_device(link: Linking) -> None:
    link.claimed()
    answers = at_once(10, lambda: patiently(link.approve))
    assert statuses(answers) == [200] * 10
    assert len({answer.body["device_id"] for answer in answers}) == 1
    assert Device.objects.filter(active=True).count() == 2


@pytest.mark.django_db(transaction=True)
def test_an_approval_and_a_rejection_at_once_end_in_one_of_both(link: Linking) -> None:
    link.claimed()
    turns = iter([link.approve, link.reject] * 4)

    def decide() -> Answer:
        return patiently(next(turns))

    answers = at_once(8, decide)
    ended = Link.objects.get().state
    assert statuses(answers) == [200] * 4 + [409] * 4
    assert Device.objects.filter(active=True).count() == (2 if ended == "approved" else 1)


@pytest.mark.django_db(transaction=True)
def test_no_race_brings_a_seventh_device(alice_phone: Installation) -> None:
    links = [Linking(alice_phone, alice_phone.beside(f"laptop {number}")).claimed() for number in range(8)]
    waiting = iter(links)
    answers = at_once(8, lambda: patiently(next(waiting).approve))
    assert statuses(answers) == [200] * 5 + [411] * 3
    assert Device.objects.filter(active=True).count() == 6


def test_a_signature_over_another_key_is_refused(link: Linking) -> None:
    mallory = Installation(name="Alice's laptop", device_uuid=link.laptop.device_uuid)
    assert link.claim(mallory).status == 201
    # Alice's phone believes to see her laptop, and signs for it.
    refused = link.approve(signature=signature_of(link.phone, link.laptop))
    assert (refused.status, refused.code, refused.body["field"]) == (422, "INVALID_SIGNATURE", "signature")
    assert Device.objects.filter(active=True).count() == 1
    assert link.look().body["status"] == "claimed"


def forgeries(link: Linking) -> list[bytes]:
    """Signatures that are not Alice's phone's over her laptop for her account."""
    phone, laptop = link.phone, link.laptop
    right = statement(phone.user_id, laptop.keys.identity_key, laptop.device_uuid)
    good = phone.keys.sign(right)
    return [
        Keys().sign(right),
        laptop.keys.sign(right),
        phone.keys.sign(statement(str(uuid.uuid4()), laptop.keys.identity_key, laptop.device_uuid)),
        phone.keys.sign(statement(phone.user_id, laptop.keys.identity_key, str(uuid.uuid4()))),
        phone.keys.sign(statement(phone.user_id, phone.keys.identity_key, laptop.device_uuid)),
        phone.keys.sign(right[len(b"waypost-device-v1") :]),
        phone.keys.sign(laptop.keys.identity_key),
        good[:-1],
        good + b"\x00",
        bytes([good[0] ^ 1]) + good[1:],
        bytes(64),
        b"",
    ]


def test_a_forged_signature_is_refused(link: Linking) -> None:
    link.claimed()
    for forged in forgeries(link):
        refused = link.approve(signature=b64(forged))
        assert (refused.status, refused.body["field"]) == (422, "signature"), forged
    assert Device.objects.filter(active=True).count() == 1
    assert link.approve().status == 200


def test_a_linked_device_lets_nobody_in(alice_phone: Installation) -> None:
    laptop = linked(alice_phone)
    assert laptop.http.post("devices/link").code == "FORBIDDEN"
    link = Linking(alice_phone, alice_phone.beside("a tablet")).claimed()
    assert (link.approve(laptop).status, link.approve(laptop).code) == (403, "FORBIDDEN")
    refused = laptop.http.post("devices/link/approve", {"link_id": link.link_id, "reject": True})
    assert refused.status == 403
    assert link.look(laptop).status == 404
    assert link.look().body["status"] == "claimed"


def test_a_link_is_nobody_elses_business(link: Linking, mallory: Installation) -> None:
    link.claimed()
    unknown = mallory.http.get(f"devices/link/{uuid.uuid4()}")
    other = Linking(mallory, mallory.beside("Mallory's laptop")).claimed()
    strange = [
        link.look(mallory),
        mallory.http.get("devices/link/x"),
        link.approve(mallory),
        mallory.http.post("devices/link/approve", {"link_id": link.link_id, "reject": True}),
        link.fetch(other.secret),
        link.fetch(link.token),
        link.fetch(""),
        link.fetch("x" * 10_000),
        link.laptop.http.post("devices/link/claim", {"link_token": link.link_id, "device": link.laptop.device_input()}),
        link.laptop.http.post("devices/link/claim", {"link_token": link.secret, "device": link.laptop.device_input()}),
    ]
    assert {(answer.status, str(answer.body)) for answer in strange} == {(404, str(unknown.body))}
    assert link.look().body["status"] == "claimed"


def test_a_claim_secret_before_the_claim_is_none(link: Linking) -> None:
    assert link.fetch("").status == 404


def test_a_recorded_linking_played_again_changes_nothing(link: Linking) -> None:
    """Mallory has recorded every request, and sends them all once more after the laptop was unlinked."""
    claim: dict[str, Any] = {"link_token": link.token, "device": link.laptop.device_input(3)}
    answer = link.laptop.http.post("devices/link/claim", claim)
    link.secret = answer.body["claim_secret"]
    approval = {"link_id": link.link_id, "signature": signature_of(link.phone, link.laptop)}
    device_id = link.phone.http.post("devices/link/approve", approval).body["device_id"]
    link.completed()
    assert link.phone.http.delete(f"devices/{device_id}").status == 204
    assert Http().post("devices/link/claim", claim).status == 409
    assert link.phone.http.post("devices/link/approve", approval).body["device_id"] == device_id
    assert "registration" not in link.fetch().body
    assert Device.objects.filter(active=True).count() == 1
    # The signature alone brings nothing either: it is Alice's phone that has to show it.
    fresh = Linking(link.phone, link.laptop)
    assert Http().post("devices/link/approve", approval | {"link_id": fresh.link_id}).status == 401


def test_a_claimant_cannot_name_the_account_or_its_rank(link: Linking, mallory: Installation) -> None:
    link.claimed_with = link.claim(  # type: ignore[attr-defined]
        is_primary=True, user_id=mallory.user_id, device_id=link.phone.device_id, linked_by={"device_id": "1"}
    )
    link.secret = link.claimed_with.body["claim_secret"]  # type: ignore[attr-defined]
    laptop = link.approved().completed()
    row = Device.objects.get(pk=laptop.device_id)
    assert (str(row.user_id), row.is_primary) == (link.phone.user_id, False)
    assert row.pk != int(link.phone.device_id)
