"""What holds for all pages: the policy, names that are code, how much they ask of the database."""

import re
from typing import Any

import pytest
from django.contrib.staticfiles import finders

from devices.models import TokenPair
from tests.cast import Installation
from tests.web_admin.staff import Staff, any_browser, device_page, person_page

pytestmark = pytest.mark.django_db

PEOPLE, DEVICES, LOG = "/admin/accounts/user/", "/admin/devices/device/", "/admin/accounts/securityevent/"


def pages(alice: Installation) -> list[str]:
    return [
        "/admin/",
        PEOPLE,
        person_page(alice.user_id),
        DEVICES,
        device_page(alice.device_id),
        LOG,
        "/admin/otp-statistics/",
        "/admin/password_change/",
        "/admin/set-up/",
    ]


def test_the_policy_has_no_exception_and_the_pages_need_none(superuser: Staff, alice_phone: Installation) -> None:
    for path in [*pages(alice_phone), "/admin/login/"]:
        answer = (superuser.browser if path != "/admin/login/" else any_browser()).get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert not re.search(r"unsafe|nonce|sha256|\*|https?:", policy)
        text = answer.content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=\"|javascript:", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        assert not re.findall(r"(?:src|href)=\"(?!/|\?|#|data:image/svg)[^\"]+\"", text), path


def test_alpine_is_the_build_that_makes_no_code_of_text() -> None:
    found = finders.find("unfold/js/alpine/alpine.js")
    assert isinstance(found, str)
    assert "chatproject" in found
    with open(found) as file:
        source = file.read()
    assert not re.search(r"\bFunction\(|AsyncFunction|\beval\(", source.replace("constructor", ""))


NAMES = {
    "<script>alert(1)</script>": "&lt;script&gt;",
    "'\"><img src=x onerror=alert(1)>": "&quot;&gt;&lt;img",
    "<svg/onload=alert(1)>": "&lt;svg/onload",
    "</title><script>alert(1)</script>": "&lt;/title&gt;",
    "<a href=javascript:alert(1)>x</a>": "&lt;a href",
    "{{ 7 }}{% x %}": "{{ 7 }}",
    "${alert(1)}`x-data=`": "${alert(1)}",
    "=HYPERLINK(1)": "=HYPERLINK(1)",
}


def test_names_are_text(superuser: Staff) -> None:
    for name, shown in NAMES.items():
        mallory = Installation(name=name).register()
        assert mallory.http.patch("profile", {"display_name": name, "bio": name}).status == 200
        for path in (person_page(mallory.user_id), device_page(mallory.device_id)):
            text = superuser.see(path)
            assert shown in text, (path, name)
            assert "<" not in name or name not in text
    for path in (PEOPLE, DEVICES, LOG):
        text = superuser.see(path)
        assert [name for name, shown in NAMES.items() if shown not in text or ("<" in name and name in text)] == [], (
            path
        )


def test_nothing_is_exported(superuser: Staff) -> None:
    for page in (PEOPLE, DEVICES, LOG):
        assert not re.search(r"export|csv|download|_facets", superuser.see(page), re.IGNORECASE)


def test_pages_cost_as_many_queries_for_many_as_for_few(
    superuser: Staff, alice_phone: Installation, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        Installation().register()
        if number < 4:
            alice_phone.beside(f"device {number}").register()
    TokenPair.objects.filter(device_id=alice_phone.device_id).update(state=TokenPair.State.CURRENT)
    superuser.see("/admin/")
    for path, most in {
        "/admin/": 13,
        PEOPLE: 9,
        person_page(alice_phone.user_id): 16,
        DEVICES: 9,
        device_page(alice_phone.device_id): 14,
        LOG: 10,
        "/admin/otp-statistics/": 9,
    }.items():
        with django_assert_max_num_queries(most):
            superuser.see(path)


def test_the_dashboard_says_how_much_there_is(superuser: Staff, alice_phone: Installation) -> None:
    page = superuser.see("/admin/")
    assert re.search(r"<b>2</b>\s*people", page)
    assert re.search(r"<b>1</b>\s*devices", page)
    assert "/health/databases" in page
