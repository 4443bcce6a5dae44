"""The web admin in a real browser, which refuses what the policy does not allow, and says so."""

import asyncio
import os
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chatproject.launcher.npm import is_ci
from tests.cast import Installation
from tests.messaging.conftest import server  # noqa: F401  (a fixture)
from tests.web_admin.browser import Tab, chromium
from tests.web_admin.staff import NUMBERS, PASSWORD, code_of, device_page, hire, person_page

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def a_browser() -> None:
    """The launcher says where a Chromium is. In CI nothing is skipped."""
    if "CHROMIUM" not in os.environ:
        if is_ci():
            pytest.fail("Chromium is not here, and in CI its test must run: start it by the launcher")
        pytest.skip("Chromium is not here: start the tests by the launcher")


def enter(tab: Tab, url: str) -> None:
    """Password, app, recovery codes."""
    tab.go(f"{url}/admin/")
    tab.fill(username=NUMBERS["superuser"], password=PASSWORD)
    tab.submit("#login-form")
    assert tab.run("location.pathname") == "/admin/set-up/"
    assert tab.run("document.querySelector('.waypost-qr').naturalWidth") > 0
    tab.fill(code=code_of(tab.text("#secret").strip()))
    tab.submit("#set-up-form")
    assert len(tab.text("#recovery-codes").split()) == 10


def use_menus(tab: Tab) -> None:
    """What unfold's attributes do."""
    tab.run("document.querySelectorAll('#nav-sidebar [x-on\\\\:click^=switchTheme]')[1].click()")
    assert "dark" in tab.run("document.documentElement.className")
    for remembered in ("0", "1"):
        tab.run("document.querySelector('#sidebar-button').click()")
        wait(tab)
        assert tab.run("localStorage.getItem('sidebarDesktopOpen')") == remembered
        assert (tab.run("document.querySelector('#nav-sidebar').offsetHeight") > 0) == (remembered == "1")
    assert tab.complaints == []


def wait(tab: Tab) -> None:
    """Alpine changes pages a little later."""
    tab.run("new Promise(done => setTimeout(done, 100))")


def look_at_everything(tab: Tab, url: str, alice: Installation) -> None:
    for path in ("/admin/accounts/user/", "/admin/devices/device/", "/admin/accounts/securityevent/"):
        tab.go(url + path)
        tab.run("document.querySelector('[x-on\\\\:click*=\"filterOpen = true\"]').click()")
        wait(tab)
        assert tab.run("document.querySelector('#changelist-filter').offsetHeight") > 0, path
    for path in (device_page(alice.device_id), "/admin/otp-statistics/", "/admin/set-up/", "/admin/password_change/"):
        tab.go(url + path)


def block(tab: Tab, url: str, alice: Installation) -> None:
    tab.go(f"{url}/admin/accounts/user/")
    tab.fill(q=alice.phone_number)
    tab.submit("#changelist-search")
    assert tab.run("location.pathname") == person_page(alice.user_id)
    assert EVIL in tab.text()
    tab.run("document.querySelector('#deeds select').value = 'abuse'")
    tab.submit("#deeds form[action$='/block/']")
    assert "Blocked." in tab.text()


def walk(url: str, alice: Installation) -> None:
    with chromium() as tab:
        enter(tab, url)
        tab.go(f"{url}/admin/")
        tab.run("new Promise(done => setTimeout(done, 500))")
        assert "decides" in tab.text("#stores")
        use_menus(tab)
        look_at_everything(tab, url, alice)
        block(tab, url, alice)
        assert tab.complaints == []


@pytest.mark.usefixtures("a_browser")
async def test_staff_walks_through_the_admin_and_the_browser_complains_of_nothing(
    settings: Any,
    alice_phone: Installation,
    server: str,  # noqa: F811  (the fixture)
) -> None:
    settings.ADMIN_SECOND_FACTOR = True
    settings.LIMITS = settings.LIMITS | {"ADMIN_LOGINS_PER_15_MIN": [0]}
    await sync_to_async(hire)("superuser")
    await sync_to_async(alice_phone.http.patch)("profile", {"display_name": EVIL})
    await asyncio.to_thread(walk, server.replace("ws:", "http:"), alice_phone)
