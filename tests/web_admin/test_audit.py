"""Whatever staff looks at or does is on record, and the record holds nothing that is secret."""

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.db import DatabaseError, connection

from accounts.models import SecurityEvent
from chatproject.web_admin.audit import search_hash
from tests.cast import Installation
from tests.web_admin.staff import NUMBERS, PASSWORD, Staff, any_browser, device_page, person_page, set_up_app

pytestmark = pytest.mark.django_db

LOG = "/admin/accounts/securityevent/"


def last(staff: Staff) -> SecurityEvent:
    return SecurityEvent.objects.filter(actor_id=staff.user.pk).latest("pk")


def test_every_page_that_was_looked_at_is_on_record(superuser: Staff, alice_phone: Installation) -> None:
    pages = {
        "/admin/": ("index", None, None),
        "/admin/accounts/user/": ("accounts_user_changelist", None, None),
        person_page(alice_phone.user_id): ("accounts_user_change", alice_phone.user_id, None),
        "/admin/devices/device/": ("devices_device_changelist", None, None),
        device_page(alice_phone.device_id): (
            "devices_device_change",
            alice_phone.user_id,
            int(alice_phone.device_id),
        ),
        LOG: ("accounts_securityevent_changelist", None, None),
        "/admin/otp-statistics/": ("otp_statistics", None, None),
    }
    for path, (name, user_id, device_id) in pages.items():
        superuser.see(path)
        event = last(superuser)
        assert (event.kind, event.facts["page"], event.facts["method"]) == ("staff_viewed", name, "GET")
        assert (event.user_id and str(event.user_id), event.device_id) == (user_id, device_id)
        assert event.network == "127.0.0.0/24"


def test_a_search_is_on_record_without_what_was_searched_for(support: Staff, alice_phone: Installation) -> None:
    support.do("/admin/accounts/user/find/", q=alice_phone.phone_number)
    event = last(support)
    assert (event.kind, event.facts["search"]) == ("staff_searched", search_hash(alice_phone.phone_number))
    support.see("/admin/devices/device/", q=alice_phone.device_id, is_primary__exact="1")
    event = last(support)
    assert (event.kind, event.facts["search"]) == ("staff_searched", search_hash(alice_phone.device_id))


def test_what_was_refused_is_on_record(support: Staff, alice_phone: Installation) -> None:
    support.do(person_page(alice_phone.user_id, "reveal-number"), reason="legal")
    event = last(support)
    assert (event.kind, str(event.user_id)) == ("staff_refused", alice_phone.user_id)
    assert event.facts["page"] == "accounts_user_reveal-number"


def other_spellings(installation: Installation) -> list[str]:
    """Of ids of a person and a device, as Django and Python read them too."""
    user_id, device_id = installation.user_id, installation.device_id
    people = [
        f"urn_3Auuid_3A{user_id}",
        f"urn:uuid:{user_id}",
        user_id.replace("-", ""),
        user_id.upper(),
        f"{{{user_id}}}",
    ]
    devices = [
        f"_2B{device_id}",
        f"+{device_id}",
        f"0{device_id}",
        f"{device_id[0]}_5F{device_id[1:]}",
        f"%20{device_id}",
    ]
    devices.append("".join(chr(0x0660 + int(digit)) for digit in device_id))
    return [*map(person_page, people), *map(device_page, devices), person_page(people[0], "block")]


def test_an_object_opens_by_the_one_spelling_that_the_record_knows(superuser: Staff, alice_phone: Installation) -> None:
    for path in other_spellings(alice_phone):
        for answer in (superuser.browser.get(path), superuser.browser.post(path, {"reason": "abuse"})):
            assert answer.status_code == 404, path
    assert not SecurityEvent.objects.filter(actor_id=superuser.user.pk).exists()
    assert alice_phone.http.get("profile").status == 200


def test_nothing_is_suggested_while_somebody_types(superuser: Staff, alice_phone: Installation) -> None:
    asked = {"app_label": "devices", "model_name": "device", "field_name": "user", "term": alice_phone.phone_number}
    assert superuser.browser.get("/admin/autocomplete/", asked).status_code == 404


def test_logins_are_on_record(superuser: Staff) -> None:
    browser = any_browser()
    browser.post("/admin/login/", {"username": NUMBERS["superuser"], "password": "wrong"})
    refused = SecurityEvent.objects.latest("pk")
    assert (refused.kind, refused.user_id, refused.actor_id) == ("staff_login_refused", superuser.user.pk, None)
    browser.post("/admin/login/", {"username": NUMBERS["superuser"], "password": PASSWORD, "next": "/admin/"})
    assert last(superuser).kind == "staff_login"
    _, codes = set_up_app(superuser.user)
    browser.post("/admin/second-step/", {"code": "000000"})
    assert SecurityEvent.objects.filter(kind="staff_login_refused", actor_id=superuser.user.pk).count() == 1
    browser.post("/admin/second-step/", {"code": codes[0]})
    assert SecurityEvent.objects.filter(kind="staff_login", facts__page="second_step").count() == 1
    browser.post("/admin/logout/")
    assert SecurityEvent.objects.filter(kind="staff_logout").count() == 1


def test_a_refused_login_of_a_number_that_nobody_has_does_not_keep_it() -> None:
    any_browser().post("/admin/login/", {"username": "+66811111111", "password": "wrong"})
    event = SecurityEvent.objects.get()
    assert (event.user_id, event.facts) == (None, {})


def test_whoever_goes_on_trying_fills_no_table() -> None:
    for _ in range(14):
        any_browser().post("/admin/login/", {"username": "+66811111111", "password": "wrong"})
    assert SecurityEvent.objects.count() == 10


def test_the_record_holds_no_number_no_code_and_no_password(superuser: Staff, alice_phone: Installation) -> None:
    _, codes = set_up_app(superuser.user)
    superuser.do("/admin/second-step/", code=codes[0])
    superuser.do("/admin/accounts/user/find/", q=alice_phone.phone_number)
    superuser.browser.get("/admin/accounts/user/", {"q": alice_phone.phone_number, alice_phone.phone_number: "x"})
    superuser.do(person_page(alice_phone.user_id, "reveal-number"), reason="legal")
    superuser.do(person_page(alice_phone.user_id), display_name="<b>", username="", bio="secret bio")
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(e)::text FROM accounts_security_event e")
        kept = " ".join(row[0] for row in cursor.fetchall())
    for never in (PASSWORD, codes[0], "secret bio", "<b>", alice_phone.access_token):
        assert never not in kept
    assert alice_phone.phone_number not in kept


def test_without_a_record_nothing_is_shown(
    superuser: Staff, alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise DatabaseError

    monkeypatch.setattr("accounts.models.SecurityEvent.objects.create", fails)
    superuser.browser.raise_request_exception = False
    answer = superuser.browser.get(person_page(alice_phone.user_id))
    assert answer.status_code in (500, 503)
    assert "Alice" not in answer.content.decode()


def test_the_log_is_read_by_person_staff_device_and_kind(
    security: Staff, support: Staff, alice_phone: Installation
) -> None:
    support.see(person_page(alice_phone.user_id))
    support.do(person_page(alice_phone.user_id, "block"), reason="abuse")
    for query in (
        {"q": alice_phone.user_id},
        {"q": str(support.user.pk)},
        {"kind": "blocked"},
        {"kind": "staff"},
    ):
        page = security.see(LOG, **query)
        assert "reason: abuse" in page, query
        assert "Support" in page
    assert "reason: abuse" not in security.see(LOG, q=str(security.user.pk))
    assert "reason: abuse" not in security.see(LOG, q="nonsense")
    assert "registered" in security.see(LOG, q=alice_phone.device_id)


def test_django_keeps_no_log_of_its_own(superuser: Staff, alice_phone: Installation) -> None:
    superuser.do(person_page(alice_phone.user_id), display_name="Changed", username="", bio="")
    superuser.do(person_page(alice_phone.user_id, "block"), reason="abuse")
    assert not LogEntry.objects.exists()


def test_events_of_people_are_shown_without_who_looked(support: Staff, alice_phone: Installation) -> None:
    for _ in range(3):
        support.see(person_page(alice_phone.user_id))
    page = support.see(person_page(alice_phone.user_id))
    assert "registered" in page
    assert "staff viewed" not in page
    assert "status" not in json.dumps(page.partition('id="events"')[2])
