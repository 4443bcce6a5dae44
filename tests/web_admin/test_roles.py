"""What each role may: a row for every page and deed there is, and a page without a row fails."""

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.urls import URLPattern, URLResolver

from accounts.models import SecurityEvent, User
from accounts.security_events import Kind, note
from chatproject.web_admin.roles import ROLES
from devices.models import Device, OneTimePrekey
from tests.cast import Installation
from tests.web_admin.staff import Staff, device_page, hire, person_page

pytestmark = pytest.mark.django_db

YES, NO, NONE, AWAY = 200, 403, 404, 302
# page: what GET answers to support, security, superuser.
PAGES = {
    "index": (YES, YES, YES),
    "accounts_user_changelist": (YES, YES, YES),
    "accounts_user_change": (YES, YES, YES),
    "devices_device_changelist": (YES, YES, YES),
    "devices_device_change": (YES, YES, YES),
    "accounts_securityevent_changelist": (NO, YES, YES),
    "accounts_securityevent_change": (NO, YES, YES),
    "otp_statistics": (NO, YES, YES),
    "password_change": (YES, YES, YES),
    "password_change_done": (YES, YES, YES),
    "set_up": (YES, YES, YES),
    "second_step": (AWAY, AWAY, AWAY),
    "jsi18n": (YES, YES, YES),
    "app_list": (YES, YES, YES),
    # Nothing is made, deleted or kept by Django's own log here.
    "accounts_user_add": (NO, NO, NO),
    "devices_device_add": (NO, NO, NO),
    "accounts_securityevent_add": (NO, NO, NO),
    "accounts_user_delete": (NO, NO, NO),
    "devices_device_delete": (NO, NO, NO),
    "accounts_securityevent_delete": (NO, NO, NO),
    "accounts_user_history": (NONE, NONE, NONE),
    "devices_device_history": (NONE, NONE, NONE),
    "accounts_securityevent_history": (NONE, NONE, NONE),
    "view_on_site": (NONE, NONE, NONE),
    "login": (AWAY, AWAY, AWAY),
}
# deed: what POST answers to them; GET is refused for all.
DEEDS = {
    "accounts_user_find": (AWAY, AWAY, AWAY),
    "accounts_user_block": (AWAY, AWAY, AWAY),
    "accounts_user_unblock": (AWAY, AWAY, AWAY),
    "accounts_user_reveal-number": (NO, YES, YES),
    "accounts_user_reset-second-step": (NO, NO, AWAY),
    "devices_device_revoke": (NO, AWAY, AWAY),
    "devices_device_refresh-keys": (NO, AWAY, AWAY),
}
NOT_ASKED = {
    "logout": "it ends the session",
    None: "redirects of Django from addresses of old, and pages that are not there",
}
CASES = [(name, place) for name in (*PAGES, *DEEDS) for place in range(3)]


def names(patterns: list[URLPattern | URLResolver]) -> Iterator[str | None]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from names(pattern.url_patterns)
        else:
            yield pattern.name


def path_of(name: str, alice: Installation) -> str:
    from django.urls import reverse  # noqa: PLC0415

    if name == "app_list":
        return reverse("admin:app_list", args=["accounts"])
    if name == "view_on_site":
        return reverse("admin:view_on_site", args=[999, 1])
    takes_id = name.rpartition("_")[2] not in ("changelist", "add", "find")
    if name.startswith("accounts_user_") and takes_id:
        return person_page(alice.user_id, name.removeprefix("accounts_user_"))
    if name.startswith("devices_device_") and takes_id:
        return device_page(alice.device_id, name.removeprefix("devices_device_"))
    if name.startswith("accounts_securityevent_") and takes_id:
        note(Kind.REGISTERED, user_id=None)
        event = SecurityEvent.objects.latest("pk")
        return reverse(f"admin:{name}", args=[event.pk])
    return reverse(f"admin:{name}")


def test_every_page_has_a_row() -> None:
    found = set(names(admin.site.get_urls()))
    assert found - set(PAGES) - set(DEEDS) - set(NOT_ASKED) == set()
    assert (set(PAGES) | set(DEEDS)) - found == set()


@pytest.mark.parametrize("place", range(3), ids=["support", "security", "superuser"])
def test_each_role_sees_its_pages(place: int, alice_phone: Installation) -> None:
    staff = hire(("support", "security", "superuser")[place])
    found = {name: staff.status(path_of(name, alice_phone)) for name in PAGES}
    assert found == {name: row[place] for name, row in PAGES.items()}


@pytest.mark.parametrize("place", range(3), ids=["support", "security", "superuser"])
def test_each_role_does_its_deeds_also_with_forged_forms(place: int, alice_phone: Installation) -> None:
    staff = hire(("support", "security", "superuser")[place])
    found = {name: staff.do(path_of(name, alice_phone), reason="abuse") for name in DEEDS}
    assert found == {name: row[place] for name, row in DEEDS.items()}
    assert [staff.status(path_of(name, alice_phone)) for name in DEEDS] == [405] * len(DEEDS)


def test_strangers_are_sent_to_the_login(alice_phone: Installation) -> None:
    stranger = Staff(User())
    for name in PAGES.keys() - {"login"}:
        assert stranger.status(path_of(name, alice_phone)) == 302, name
    for name in DEEDS:
        assert stranger.do(path_of(name, alice_phone), reason="abuse") == 302, name
    assert alice_phone.http.get("profile").status == 200


def test_people_who_are_no_staff_have_no_login(alice_phone: Installation) -> None:
    user = User.objects.get(pk=alice_phone.user_id)
    user.set_password("correct horse battery")
    user.save()
    nobody = Staff(user)
    nobody.browser.force_login(user)
    assert nobody.status("/admin/") == 302
    assert nobody.do(person_page(user.pk, "block"), reason="abuse") == 302


@pytest.mark.parametrize("role", ["support", "security"])
def test_a_role_writes_nothing_through_the_form_of_a_person(role: str, alice_phone: Installation) -> None:
    staff = hire(role)
    forged = {"display_name": "Mine", "username": "mine", "bio": "", "is_staff": "on", "is_superuser": "on"}
    for user in User.objects.all():
        assert staff.do(person_page(user.pk), **forged) == 403
    assert User.objects.filter(is_superuser=True).count() == 0
    assert not User.objects.filter(display_name="Mine").exists()


def test_nobody_writes_a_device_or_an_event_by_its_form(superuser: Staff, alice_phone: Installation) -> None:
    assert superuser.do(device_page(alice_phone.device_id), name="Mine", active="") == 403
    event = SecurityEvent.objects.latest("pk")
    assert superuser.do(f"/admin/accounts/securityevent/{event.pk}/change/", kind="harmless") == 403
    assert Device.objects.get().name == "Alice's phone"


def test_lists_do_nothing_to_many_at_once(superuser: Staff, alice_phone: Installation) -> None:
    for action in ("delete_selected", "block", "revoke"):
        for page in ("accounts/user", "devices/device", "accounts/securityevent"):
            superuser.do(f"/admin/{page}/", action=action, _selected_action=str(alice_phone.user_id), post="yes")
    assert alice_phone.http.get("profile").status == 200
    assert User.objects.filter(pk=alice_phone.user_id, is_active=True).exists()


@pytest.mark.parametrize("role", ["support", "security"])
def test_staff_is_dealt_with_by_superusers_alone(role: str, superuser: Staff) -> None:
    staff, other = hire(role), hire("security" if role == "support" else "support")
    for victim in (superuser, other, staff):
        assert staff.do(person_page(victim.user.pk, "block"), reason="abuse") == 403
        assert staff.do(person_page(victim.user.pk, "reveal-number"), reason="abuse") == 403
    assert superuser.do(person_page(superuser.user.pk, "block"), reason="abuse") == 403
    assert superuser.do(person_page(staff.user.pk, "block"), reason="abuse") == 302
    assert staff.status("/admin/") == 302


def test_nobody_changes_their_own_rank(superuser: Staff) -> None:
    superuser.do(person_page(superuser.user.pk), display_name="Boss", username="", bio="", is_staff="")
    boss = User.objects.get(pk=superuser.user.pk)
    assert (boss.display_name, boss.is_staff, boss.is_superuser) == ("Boss", True, True)


def test_a_superuser_gives_a_role(superuser: Staff, alice_phone: Installation) -> None:
    security = Group.objects.get(name="security")
    fields = {"display_name": "Alice", "username": "", "bio": "", "is_staff": "on", "groups": [security.pk]}
    assert superuser.do(person_page(alice_phone.user_id), **fields) == 302
    alice = User.objects.get(pk=alice_phone.user_id)
    assert alice.has_perm("accounts.reveal_number")
    event = SecurityEvent.objects.filter(kind="staff_changed").get()
    assert (event.user_id, event.actor_id) == (alice.pk, superuser.user.pk)
    assert set(event.facts["fields"].split(",")) == {"display_name", "is_staff", "groups"}


def test_saving_a_form_writes_nothing_that_has_moved_on_since(superuser: Staff, alice_phone: Installation) -> None:
    User.objects.filter(pk=alice_phone.user_id).update(device_epoch=77)
    superuser.do(person_page(alice_phone.user_id), display_name="Alice", username="", bio="")
    assert User.objects.values_list("device_epoch", "display_name").get(pk=alice_phone.user_id) == (77, "Alice")


def test_roles_are_what_stands_in_the_code_after_every_migration() -> None:
    Group.objects.get(name="support").permissions.clear()
    call_command("migrate", "--no-input", verbosity=0)
    for role, permissions in ROLES.items():
        found = Group.objects.get(name=role).permissions.values_list("content_type__app_label", "codename")
        assert {".".join(one) for one in found} == set(permissions)


def test_a_deed_wants_a_reason_of_the_list(security: Staff, alice_phone: Installation) -> None:
    for reason in ("", "because", "abuse; DROP"):
        security.do(person_page(alice_phone.user_id, "block"), reason=reason)
        security.do(device_page(alice_phone.device_id, "refresh-keys"), reason=reason)
    assert alice_phone.http.get("profile").status == 200
    assert OneTimePrekey.objects.count() == 10
