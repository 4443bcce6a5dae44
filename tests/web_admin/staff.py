"""Staff of the tests: Sam of support, Sid of security, and the boss; each has a browser that is logged in."""

import base64
import functools
import time
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.test import Client
from django.test.client import ClientHandler
from django_otp import oath

from accounts import second_factor
from accounts.models import User

PASSWORD = "correct horse battery"
NUMBERS = {"support": "+66822222222", "security": "+66833333333", "superuser": "+66844444444"}


def any_browser() -> Client:
    """One that was nowhere yet. All share the handler: loading it looks through all static files."""
    browser = Client()
    browser.handler = _handler()
    return browser


@functools.cache
def _handler() -> ClientHandler:
    shared = ClientHandler(enforce_csrf_checks=False)
    shared.load_middleware()
    return shared


@dataclass
class Staff:
    """A member of staff in front of a browser."""

    user: User
    browser: Client = field(default_factory=any_browser)

    def see(self, path: str, **query: str) -> str:
        """The text of a page that opens."""
        answer = self.browser.get(path, query)
        assert answer.status_code == 200, (path, answer.status_code, answer.headers.get("Location"))
        return answer.content.decode()

    def status(self, path: str) -> int:
        return self.browser.get(path).status_code

    def do(self, path: str, **fields: Any) -> int:
        """Send a form; the answer's status, redirects not followed."""
        return self.browser.post(path, fields).status_code


def hire(role: str) -> Staff:
    """Somebody of this role, with a password of their own, logged in."""
    user = User.objects.create_user(NUMBERS[role], is_staff=True, display_name=role.capitalize())
    User.objects.filter(pk=user.pk).update(password=_hashed(), is_superuser=role == "superuser")
    user.refresh_from_db()
    user.groups.set(Group.objects.filter(name=role))
    staff = Staff(user)
    staff.browser.force_login(user)
    return staff


@functools.cache
def _hashed() -> str:
    """Hashing is meant to be slow: once for all tests."""
    return make_password(PASSWORD)


def code_of(secret: str, *, steps: int = 0) -> str:
    """What an app with this secret shows, so many half minutes from now."""
    app = oath.TOTP(base64.b32decode(secret))
    app.time = time.time() + 30 * steps
    return f"{app.token():06}"


def set_up_app(user: User) -> tuple[str, list[str]]:
    """Connect an app, as on the page: its secret, and the recovery codes."""
    secret = second_factor.offer(user).secret
    confirmed = second_factor.confirm(user, code_of(secret))
    assert confirmed is not None
    return secret, confirmed[1]


def person_page(user_id: object, deed: str = "change") -> str:
    return f"/admin/accounts/user/{user_id}/{deed}/"


def device_page(device_id: object, deed: str = "change") -> str:
    return f"/admin/devices/device/{device_id}/{deed}/"
