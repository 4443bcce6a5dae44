"""The web admin: who gets in, what it shows, what it never shows, and what staff can do."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import valkey
from accounts.models import User
from devices.models import Device
from devices.public_keys import fingerprint
from tests.cast import Http, Installation, b64

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
STAFF_NUMBER = "+66899999999"


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet(services: None) -> None:
    valkey.client().flushdb()


@pytest.fixture
def superuser(services: None) -> Client:
    User.objects.create_superuser(STAFF_NUMBER, PASSWORD)
    return logged_in(STAFF_NUMBER)


@pytest.fixture
def helper(services: None) -> Client:
    """Staff who may look at people and change them, no more."""
    user = User.objects.create_user("+66888888888", PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    return logged_in("+66888888888")


def logged_in(number: str) -> Client:
    browser = Client()
    assert browser.login(username=number, password=PASSWORD)
    return browser


def page(browser: Client, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200, (path, response.status_code)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    return response.content.decode()


def act(browser: Client, path: str, action: str, *ids: object) -> int:
    return browser.post(
        path, {"action": action, "_selected_action": [str(item) for item in ids]}, follow=True
    ).status_code


def test_only_active_staff_with_a_password_gets_in(services: None, alice_phone: Installation) -> None:
    User.objects.create_user(STAFF_NUMBER, PASSWORD, is_staff=True)
    assert not Client().login(username=alice_phone.phone_number, password="")
    assert not Client().login(username=STAFF_NUMBER, password="wrong")
    assert not Client().login(username="+66811111111", password=PASSWORD)
    assert Client().login(username="+66 8999 99999", password=PASSWORD)
    User.objects.filter(is_staff=True).update(is_active=False)
    assert not Client().login(username=STAFF_NUMBER, password=PASSWORD)
    assert Client().get("/admin/accounts/user/").headers["Location"].startswith("/admin/login/")


def test_passwords_cannot_be_tried_for_ever(services: None) -> None:
    User.objects.create_superuser(STAFF_NUMBER, PASSWORD)

    def enter(password: str) -> int:
        return (
            Client()
            .post("/admin/login/", {"username": STAFF_NUMBER, "password": password}, REMOTE_ADDR="127.9.9.9")
            .status_code
        )

    assert [enter("wrong") for _ in range(10)] == [200] * 10
    assert enter(PASSWORD) == 200, "the right one comes too late"


def test_without_redis_nobody_logs_in(services: None, settings: Any) -> None:
    User.objects.create_superuser(STAFF_NUMBER, PASSWORD)
    settings.REDIS_URL = "unix:///nowhere.sock"
    assert not Client().login(username=STAFF_NUMBER, password=PASSWORD)


def all_pages(alice: Installation) -> list[str]:
    return [
        "/admin/",
        "/admin/accounts/user/",
        f"/admin/accounts/user/{alice.user_id}/change/",
        f"/admin/accounts/user/{alice.user_id}/history/",
        "/admin/devices/device/",
        f"/admin/devices/device/{alice.device_id}/change/",
        "/admin/auth/group/",
    ]


def test_no_page_shows_a_number_a_key_or_a_token(superuser: Client, alice_phone: Installation) -> None:
    device, user = Device.objects.get(), User.objects.get(pk=alice_phone.user_id)
    never = [
        alice_phone.phone_number,
        alice_phone.access_token,
        alice_phone.refresh_token,
        b64(alice_phone.keys.identity_key),
        alice_phone.keys.identity_key.hex(),
        bytes(user.phone_hash).hex(),
        bytes(user.phone_encrypted).decode(),
        user.password,
    ]
    for path in all_pages(alice_phone):
        shown = page(superuser, path)
        assert [item for item in never if item in shown] == []
    assert fingerprint(bytes(device.identity_key)) in page(
        superuser, f"/admin/devices/device/{alice_phone.device_id}/change/"
    )
    assert f"+66••••••{alice_phone.phone_number[-3:]}" in page(
        superuser, f"/admin/accounts/user/{alice_phone.user_id}/change/"
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("'\"><img src=x>", "&quot;&gt;&lt;img"),
        ("{{ 7 }}{% x %}", "{{ 7 }}"),
    ],
)
def test_names_are_text(superuser: Client, alice_phone: Installation, name: str, shown: str) -> None:
    alice_phone.http.patch("profile", {"display_name": name})
    alice_phone.http.patch(f"devices/{alice_phone.device_id}", {"name": name})
    for path in all_pages(alice_phone)[1:6]:
        text = page(superuser, path)
        assert shown in text
        assert name not in text or name.startswith("{{")


def found(browser: Client, path: str, query: str) -> list[str]:
    response = browser.get(path, {"q": query})
    assert response.status_code == 200
    return re.findall(r'name="_selected_action" value="([^"]+)"', response.content.decode())


def test_people_are_found_by_name_id_and_whole_number(
    superuser: Client, alice_phone: Installation, bob_phone: Installation
) -> None:
    bob_phone.http.patch("profile", {"display_name": "Robert", "username": "bob_the_sailor"})
    people = "/admin/accounts/user/"
    for query in ("sailor", "robert", bob_phone.user_id, bob_phone.phone_number, f" {bob_phone.phone_number} "):
        assert found(superuser, people, query) == [bob_phone.user_id], query
    assert found(superuser, people, bob_phone.phone_number[:-1]) == []
    assert len(found(superuser, people, "")) == 3


def test_devices_are_found_by_id_owner_and_name(
    superuser: Client, alice_phone: Installation, bob_phone: Installation
) -> None:
    devices = "/admin/devices/device/"
    for query in (bob_phone.device_id, bob_phone.user_id, "Bob's"):
        assert found(superuser, devices, query) == [bob_phone.device_id], query
    assert found(superuser, devices, "9" * 30) == []


def test_staff_blocks_and_unblocks(superuser: Client, alice_phone: Installation) -> None:
    assert act(superuser, "/admin/accounts/user/", "block", alice_phone.user_id) == 200
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    assert LogEntry.objects.get().change_message == "Blocked"
    act(superuser, "/admin/accounts/user/", "unblock", alice_phone.user_id)
    assert alice_phone.register().http.get("profile").status == 200


def test_staff_revokes_a_device(superuser: Client, alice_phone: Installation) -> None:
    act(superuser, "/admin/devices/device/", "revoke", alice_phone.device_id)
    assert alice_phone.http.get("profile").code == "INVALID_TOKEN"
    assert Device.objects.get().active is False


def test_nobody_blocks_themselves_and_helpers_touch_no_superuser(superuser: Client, helper: Client) -> None:
    boss = User.objects.get(is_superuser=True)
    act(superuser, "/admin/accounts/user/", "block", boss.pk)
    act(helper, "/admin/accounts/user/", "block", boss.pk)
    assert User.objects.get(pk=boss.pk).is_active
    assert helper.post(f"/admin/accounts/user/{boss.pk}/change/", {"display_name": "Mine"}).status_code == 403


def test_a_helper_gives_no_rank_not_even_to_themselves(helper: Client, alice_phone: Installation) -> None:
    forged = {
        "display_name": "Alice",
        "username": "",
        "bio": "",
        "is_staff": "on",
        "is_superuser": "on",
        "devices-TOTAL_FORMS": "0",
        "devices-INITIAL_FORMS": "0",
    }
    for user in User.objects.all():
        helper.post(f"/admin/accounts/user/{user.pk}/change/", forged)
    assert User.objects.filter(is_superuser=True).count() == 0
    assert User.objects.filter(is_staff=True).count() == 1


def test_a_helper_without_permission_sees_no_devices(helper: Client, alice_phone: Installation) -> None:
    assert helper.get("/admin/devices/device/").status_code == 403
    assert act(helper, "/admin/devices/device/", "revoke", alice_phone.device_id) == 403
    assert alice_phone.http.get("profile").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/admin/accounts/user/add/",
        "/admin/devices/device/add/",
        "/admin/devices/tokenpair/",
        "/admin/devices/onetimeprekey/",
    ],
)
def test_people_devices_and_keys_are_not_made_here(superuser: Client, path: str) -> None:
    assert superuser.get(path).status_code in (403, 404)


def test_nothing_is_deleted_here(superuser: Client, alice_phone: Installation) -> None:
    assert superuser.post(f"/admin/accounts/user/{alice_phone.user_id}/delete/", {"post": "yes"}).status_code == 403
    assert superuser.post(f"/admin/devices/device/{alice_phone.device_id}/delete/", {"post": "yes"}).status_code == 403
    act(superuser, "/admin/accounts/user/", "delete_selected", alice_phone.user_id)
    assert alice_phone.http.get("profile").status == 200


def test_a_list_costs_as_many_queries_for_ten_as_for_two(
    superuser: Client, services: None, django_assert_max_num_queries: Any
) -> None:
    for _ in range(10):
        Installation().register()
    for path in ("/admin/accounts/user/", "/admin/devices/device/"):
        with django_assert_max_num_queries(10):
            page(superuser, path)


def test_a_form_from_elsewhere_is_refused(superuser: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = superuser.cookies
    answer = strict.post("/admin/accounts/user/", {"action": "block"})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "FORBIDDEN")


def test_the_admins_session_opens_no_api(superuser: Client) -> None:
    assert superuser.get("/api/v1/profile").status_code == 401
    assert Http().get("/admin/").status == 302
