"""The first administrator of a new installation."""

import re
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from accounts.management.commands.first_admin import NOBODYS_NUMBER
from accounts.models import User
from tests.cast import Http

pytestmark = pytest.mark.django_db


def first_admin() -> str:
    out = StringIO()
    call_command("first_admin", stdout=out)
    return out.getvalue()


def password_in(output: str) -> str:
    found = re.search(r"one-time password (\S+)", output)
    assert found
    return found[1]


def test_one_is_made_and_told_once(services: None) -> None:
    output = first_admin()
    assert NOBODYS_NUMBER in output
    assert first_admin() == ""
    admin = User.objects.get()
    assert (admin.is_staff, admin.is_superuser, admin.check_password(password_in(output))) == (True, True, True)


def test_the_password_must_be_changed_before_anything_else(services: None) -> None:
    password = password_in(first_admin())
    browser = Client()
    entered = browser.post("/admin/login/", {"username": NOBODYS_NUMBER, "password": password, "next": "/admin/"})
    assert (entered.status_code, entered.headers["Location"]) == (302, "/admin/")
    for page in ("/admin/", "/admin/accounts/user/", "/admin/devices/device/", "/admin/accounts/user/?q=x"):
        assert browser.get(page).headers["Location"] == "/admin/password_change/"
    fields = {
        "old_password": password,
        "new_password1": "correct horse battery",
        "new_password2": "correct horse battery",
    }
    assert browser.post("/admin/password_change/", fields).headers["Location"] == "/admin/password_change/done/"
    assert browser.get("/admin/").status_code == 200
    assert not Client().login(username=NOBODYS_NUMBER, password=password)


def test_nobody_can_sign_in_with_the_administrators_number(anyone: Http) -> None:
    assert anyone.post("auth/request-otp", {"phone_number": NOBODYS_NUMBER}).body["field"] == "phone_number"
