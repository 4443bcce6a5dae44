"""What staff finds, what it sees of it, and what it does."""

import re
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import call_command

from accounts import valkey
from accounts.models import SecurityEvent, User
from devices.models import Device, OneTimePrekey
from devices.public_keys import fingerprint
from devices.signals import prekeys_low
from messaging import online
from tests.cast import Installation, b64
from tests.web_admin.staff import Staff, any_browser, device_page, person_page

pytestmark = pytest.mark.django_db

PEOPLE, DEVICES = "/admin/accounts/user/", "/admin/devices/device/"


def found(staff: Staff, text: str) -> str | None:
    """The id of the one person the search leads to."""
    place: str = staff.browser.post(f"{PEOPLE}find/", {"q": text}).headers["Location"]
    return place.removeprefix(PEOPLE).removesuffix("/change/") or None


def listed(page: str, ids: list[str]) -> list[str]:
    return [one for one in ids if f"/{one}/change/" in page]


def test_people_are_found_by_whole_number_username_and_id(
    support: Staff, alice_phone: Installation, bob_phone: Installation
) -> None:
    bob_phone.http.patch("profile", {"display_name": "Robert", "username": "Bob_the_sailor"})
    for text in (bob_phone.phone_number, f" {bob_phone.phone_number} ", "bob_the_sailor", bob_phone.user_id):
        assert found(support, text) == bob_phone.user_id, text
    for text in (bob_phone.phone_number[:-1], bob_phone.phone_number[1:], "bob", "Robert", "%", "", "+", "\x00"):
        assert found(support, text) is None, text


def test_support_lists_nobody_and_security_may(
    support: Staff, security: Staff, alice_phone: Installation, bob_phone: Installation
) -> None:
    people, devices = [alice_phone.user_id, bob_phone.user_id], [alice_phone.device_id, bob_phone.device_id]
    for query in ({}, {"q": ""}, {"q": "%"}, {"is_active__exact": "1"}, {"p": "2"}, {"all": ""}):
        assert listed(support.browser.get(PEOPLE, query, follow=True).content.decode(), people) == []
        assert listed(support.browser.get(DEVICES, query, follow=True).content.decode(), devices) == []
    assert listed(security.see(PEOPLE), people) == people
    assert listed(security.see(DEVICES), devices) == devices


def test_devices_are_found_by_their_id_and_their_owners(
    support: Staff, alice_phone: Installation, bob_phone: Installation
) -> None:
    both = [alice_phone.device_id, bob_phone.device_id]
    support.see(person_page(bob_phone.user_id))
    for text in (bob_phone.device_id, bob_phone.user_id):
        assert listed(support.see(DEVICES, q=text), both) == [bob_phone.device_id]
    for text in ("9" * 30, "Bob's", "x"):
        assert listed(support.see(DEVICES, q=text), both) == []


def test_support_does_not_go_through_the_ids_of_devices(
    support: Staff, security: Staff, alice_phone: Installation, bob_phone: Installation
) -> None:
    support.see(person_page(bob_phone.user_id))
    support.see(device_page(bob_phone.device_id))
    answers = [support.browser.get(device_page(one), follow=True) for one in (alice_phone.device_id, "999999")]
    assert [answer.redirect_chain for answer in answers] == [[("/admin/", 302)]] * 2
    assert not any("Alice" in answer.content.decode() for answer in answers)
    for text in (alice_phone.device_id, alice_phone.user_id):
        assert listed(support.see(DEVICES, q=text), [alice_phone.device_id]) == []
    tried = SecurityEvent.objects.filter(actor_id=support.user.pk, device_id=alice_phone.device_id)
    assert [str(event.user_id) for event in tried] == [alice_phone.user_id], "that it was tried is on record"
    security.see(device_page(alice_phone.device_id))


def test_no_page_shows_a_number_a_key_or_a_token(superuser: Staff, alice_phone: Installation) -> None:
    device, user = Device.objects.get(), User.objects.get(pk=alice_phone.user_id)
    never = [
        alice_phone.phone_number,
        alice_phone.access_token,
        alice_phone.refresh_token,
        b64(alice_phone.keys.identity_key),
        alice_phone.keys.identity_key.hex(),
        bytes(user.phone_hash).hex(),
        repr(bytes(user.phone_hash)),
        repr(bytes(superuser.user.phone_hash))[2:10],
        bytes(user.phone_encrypted).decode(),
        superuser.user.password,
    ]
    pages = ["/admin/", PEOPLE, DEVICES, "/admin/accounts/securityevent/", "/admin/otp-statistics/"]
    pages += [person_page(user.pk), device_page(device.pk), person_page(superuser.user.pk)]
    for path in pages:
        shown = superuser.see(path)
        assert [item for item in never if item in shown] == [], path
    assert fingerprint(bytes(device.identity_key)) in superuser.see(device_page(device.pk))
    assert f"+66••••••{alice_phone.phone_number[-3:]}" in superuser.see(person_page(user.pk))


def test_a_number_is_revealed_on_one_page_and_nowhere_else(security: Staff, alice_phone: Installation) -> None:
    answer = security.browser.post(person_page(alice_phone.user_id, "reveal-number"), {"reason": "legal"})
    assert alice_phone.phone_number in answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    event = SecurityEvent.objects.get(kind="number_revealed")
    assert (str(event.user_id), event.actor_id, event.facts) == (
        alice_phone.user_id,
        security.user.pk,
        {"reason": "legal"},
    )
    assert alice_phone.phone_number not in security.see(person_page(alice_phone.user_id))


def test_a_person_is_seen_with_devices_prekeys_sessions_and_events(security: Staff, alice_phone: Installation) -> None:
    laptop = alice_phone.beside("Alice's laptop").register(prekeys=37)
    page = security.see(person_page(alice_phone.user_id))
    for text in ("Alice&#x27;s phone", "Alice&#x27;s laptop", ">37<", ">10<", "registered"):
        assert text in page, text
    assert "Current" in security.see(device_page(laptop.device_id))


def test_support_blocks_and_unblocks(support: Staff, alice_phone: Installation) -> None:
    assert support.do(person_page(alice_phone.user_id, "block"), reason="abuse") == 302
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    assert support.do(person_page(alice_phone.user_id, "unblock"), reason="owner") == 302
    assert alice_phone.register().http.get("profile").status == 200
    kinds = SecurityEvent.objects.filter(kind__in=["blocked", "unblocked"]).order_by("pk")
    assert [(event.kind, event.actor_id) for event in kinds] == [
        ("blocked", support.user.pk),
        ("unblocked", support.user.pk),
    ]


def test_security_revokes_a_device(security: Staff, alice_phone: Installation) -> None:
    assert security.do(device_page(alice_phone.device_id, "revoke"), reason="security") == 302
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    assert Device.objects.get().active is False
    assert security.do(device_page(alice_phone.device_id, "revoke"), reason="security") == 302


def test_a_forced_refresh_forgets_the_pool_and_asks_the_device(
    security: Staff, alice_phone: Installation, bob_phone: Installation, django_capture_on_commit_callbacks: Any
) -> None:
    asked: list[dict[str, int]] = []

    def hear(device_id: int, count: int, pq_count: int, **_: Any) -> None:
        asked.append({"device": device_id, "count": count, "pq_count": pq_count})

    prekeys_low.connect(hear)
    with django_capture_on_commit_callbacks(execute=True):
        security.do(device_page(alice_phone.device_id, "refresh-keys"), reason="security")
    prekeys_low.disconnect(hear)
    assert asked == [{"device": int(alice_phone.device_id), "count": 0, "pq_count": 0}]
    left = OneTimePrekey.objects.values_list("device_id", flat=True)
    assert set(left) == {int(bob_phone.device_id)}
    event = SecurityEvent.objects.get(kind="key_refresh_forced")
    assert (event.device_id, event.facts) == (int(alice_phone.device_id), {"reason": "security", "forgotten": 10})


def test_a_device_that_was_unlinked_has_no_keys_to_refresh(security: Staff, alice_phone: Installation) -> None:
    Device.objects.update(active=False)
    security.do(device_page(alice_phone.device_id, "refresh-keys"), reason="security")
    assert SecurityEvent.objects.get(kind="key_refresh_forced").facts["forgotten"] == 0
    assert "upload new prekeys" not in security.see(device_page(alice_phone.device_id))


@pytest.mark.parametrize("unknown", ["01a20045-e3df-7d5d-9130-fdddf272ab64", "x", "1%00", "-1", "9" * 40])
def test_what_is_not_there_is_not_dealt_with(superuser: Staff, unknown: str) -> None:
    for deed in ("block", "unblock", "reveal-number", "reset-second-step"):
        assert superuser.do(person_page(unknown, deed), reason="abuse") == 404
    for deed in ("revoke", "refresh-keys"):
        assert superuser.do(device_page(unknown, deed), reason="abuse") == 404
    assert superuser.status(person_page(unknown)) in (302, 404)
    assert superuser.status(device_page(unknown)) in (302, 404)


def test_a_person_is_seen_with_the_sockets_that_are_open(
    support: Staff, alice_phone: Installation, bob_phone: Installation, settings: Any
) -> None:
    key = online._key(UUID(alice_phone.user_id))
    valkey.client().eval(online.TOUCH, 1, key, 32, f"{alice_phone.device_id}:7", online.LASTS_SECONDS, 60)
    assert ">open<" in support.see(person_page(alice_phone.user_id))
    assert "socket is open" in support.see(device_page(alice_phone.device_id))
    assert ">open<" not in support.see(person_page(bob_phone.user_id))
    settings.REDIS_URL = "unix:///nowhere.sock"
    assert ">?<" in support.see(person_page(alice_phone.user_id))


def test_of_a_deleted_account_nothing_is_left_to_see_or_to_do(superuser: Staff, alice_phone: Installation) -> None:
    assert alice_phone.http.delete("account").status in (200, 202, 204)
    page = superuser.see(person_page(alice_phone.user_id))
    assert "was deleted on" in page
    for deed in ("unblock", "block", "reveal-number"):
        assert superuser.do(person_page(alice_phone.user_id, deed), reason="owner") == 302
    assert not User.objects.get(pk=alice_phone.user_id).is_active
    assert not SecurityEvent.objects.filter(kind__in=["unblocked", "blocked", "number_revealed"]).exists()
    assert found(superuser, alice_phone.phone_number) is None
    superuser.see(PEOPLE)


def test_codes_are_switched_off_and_on(security: Staff, anyone: Any) -> None:
    assert security.do("/admin/otp-statistics/", to="off") == 302
    assert anyone.post("auth/request-otp", {"phone_number": "+66812345678"}).status == 503
    assert "switched off" in security.see("/admin/otp-statistics/")
    assert security.do("/admin/otp-statistics/", to="on") == 302
    assert anyone.post("auth/request-otp", {"phone_number": "+66812345678"}).status == 200
    kinds = list(SecurityEvent.objects.filter(kind__startswith="codes_").order_by("pk").values_list("kind", flat=True))
    assert kinds == ["codes_switched_off", "codes_switched_on"]


def test_codes_are_counted_by_country_and_refusals_by_reason(
    security: Staff, alice_phone: Installation, anyone: Any
) -> None:
    number = {"phone_number": "+66812345678"}
    assert [anyone.post("auth/request-otp", number).status for _ in range(2)] == [200, 429]
    page = security.see("/admin/otp-statistics/")
    assert re.search(r"<td>TH</td>\s*<td class=\"number\">2</td>\s*<td class=\"number\">1</td>", page)
    refused = page.partition("<h2>Refused")[2]
    assert re.search(r"<td>[a-z_ ]+</td><td class=\"number\">[1-9]", refused)


def test_first_admin_and_staff_leave_no_password_behind(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("first_admin")
    password = capsys.readouterr().out.split("one-time password ")[1].split()[0]
    events = " ".join(str(event.facts) for event in SecurityEvent.objects.all())
    assert password not in events


def test_a_list_is_narrowed_down_by_its_filters_alone(
    superuser: Staff, security: Staff, support: Staff, alice_phone: Installation
) -> None:
    """By any other field staff could find out, letter by letter, what no page shows."""
    for staff in (support, security, superuser):
        for lookup in ("password__startswith", "phone_hash__startswith", "devices__identity_key__startswith"):
            answer = staff.browser.get(PEOPLE, {"q": alice_phone.user_id, lookup: "!"}, follow=True)
            assert answer.status_code in (400, 403) or "e=1" in answer.request["QUERY_STRING"], (staff, lookup)
        assert staff.browser.get(DEVICES, {"user__password__startswith": "!"}).status_code in (302, 400, 403)


def test_a_cookie_that_is_no_session_is_nobodys(db: None) -> None:
    browser = any_browser()
    for cookie in ('"\\000aaaaaaaa"', "a" * 300, "A" * 32, "%00" * 12):
        browser.cookies[settings.SESSION_COOKIE_NAME] = cookie
        assert browser.get(PEOPLE).status_code == 302


def test_a_kind_that_is_none_finds_all(security: Staff) -> None:
    assert security.browser.get("/admin/accounts/securityevent/", {"kind": "\0"}).status_code == 200
