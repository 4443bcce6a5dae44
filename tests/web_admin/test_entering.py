"""Who gets into the web admin, and by which steps."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import second_factor, valkey
from accounts.authenticators import Authenticator, RecoveryCodes
from accounts.models import SecurityEvent, User
from tests.cast import Http, Installation
from tests.web_admin.staff import NUMBERS, PASSWORD, Staff, any_browser, code_of, hire, set_up_app

pytestmark = pytest.mark.django_db
STAFF_NUMBER = "+66899999999"


@pytest.fixture
def required(settings: Any) -> None:
    """As in production."""
    settings.ADMIN_SECOND_FACTOR = True


def enter(number: str, password: str, address: str = "127.9.9.9") -> Any:
    browser = any_browser()
    return browser, browser.post(
        "/admin/login/?next=/admin/", {"username": number, "password": password}, REMOTE_ADDR=address
    )


def later(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks of codes and of waiting go on."""
    Authenticator.objects.update(throttling_failure_timestamp=None, throttling_failure_count=0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_only_active_staff_with_a_password_gets_in(alice_phone: Installation) -> None:
    user = User.objects.create_user(STAFF_NUMBER, PASSWORD, is_staff=True)
    assert not any_browser().login(username=alice_phone.phone_number, password="")
    assert not any_browser().login(username=STAFF_NUMBER, password="wrong")
    assert not any_browser().login(username="+66811111111", password=PASSWORD)
    assert any_browser().login(username="+66 8999 99999", password=PASSWORD)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert not any_browser().login(username=STAFF_NUMBER, password=PASSWORD)
    assert any_browser().get("/admin/accounts/user/").headers["Location"].startswith("/admin/login/")


def test_passwords_cannot_be_tried_for_ever() -> None:
    User.objects.create_superuser(STAFF_NUMBER, PASSWORD)
    assert [enter(STAFF_NUMBER, "wrong")[1].status_code for _ in range(10)] == [200] * 10
    assert enter(STAFF_NUMBER, PASSWORD)[1].status_code == 200, "the right one comes too late"
    assert enter(STAFF_NUMBER, PASSWORD, "127.8.8.8")[1].status_code == 200, "from elsewhere too"


def test_without_redis_nobody_logs_in(settings: Any) -> None:
    User.objects.create_superuser(STAFF_NUMBER, PASSWORD)
    settings.REDIS_URL = "unix:///nowhere.sock"
    assert not any_browser().login(username=STAFF_NUMBER, password=PASSWORD)


def test_a_session_is_for_this_site_alone_and_not_for_scripts(support: Staff) -> None:
    browser, _ = enter(NUMBERS["support"], PASSWORD)
    cookie = browser.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"], cookie["domain"]) == (True, "Strict", "")
    assert "no-store" in support.browser.get("/admin/").headers["Cache-Control"]
    assert "no-store" in any_browser().get("/admin/login/").headers["Cache-Control"]


def test_the_admins_session_opens_no_api(superuser: Staff) -> None:
    assert superuser.browser.get("/api/v1/profile").status_code == 401
    assert Http().get("/admin/").status == 302


def test_a_form_from_elsewhere_is_refused(superuser: Staff, alice_phone: Installation) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = superuser.browser.cookies
    answer = strict.post(f"/admin/accounts/user/{alice_phone.user_id}/block/", {"reason": "abuse"})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "FORBIDDEN")
    assert alice_phone.http.get("profile").status == 200


# --- the second step ---------------------------------------------------------------------------------------------------------------------


def test_whoever_needs_an_app_sees_no_page_before_there_is_one(required: None, superuser: Staff) -> None:
    for path in ("/admin/", "/admin/accounts/user/", "/admin/accounts/securityevent/", "/admin/password_change/"):
        assert superuser.browser.get(path).headers["Location"] == "/admin/set-up/", path


def test_an_app_is_connected_and_its_codes_open_the_admin(
    required: None, superuser: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = second_factor.offer(superuser.user).secret
    page = superuser.see("/admin/set-up/")
    assert secret in page
    assert "data:image/svg+xml" in page
    before = superuser.browser.cookies["sessionid"].value
    shown = superuser.browser.post("/admin/set-up/", {"code": code_of(secret)}).content.decode()
    assert shown.count("<span>") >= second_factor.RECOVERY_CODES
    assert superuser.browser.cookies["sessionid"].value != before
    assert superuser.status("/admin/") == 200

    browser, _ = enter(NUMBERS["superuser"], PASSWORD)
    assert browser.get("/admin/").headers["Location"] == "/admin/second-step/"
    assert "nav-sidebar" not in browser.get("/admin/second-step/").content.decode()
    later(60, monkeypatch)
    assert browser.post("/admin/second-step/", {"code": code_of(secret, steps=0)}).headers["Location"] == "/admin/"
    assert browser.get("/admin/").status_code == 200


def test_who_has_an_app_is_asked_for_it_where_none_is_needed(superuser: Staff) -> None:
    set_up_app(superuser.user)
    for path in ("/admin/", "/admin/set-up/", "/admin/password_change/", "/admin/otp-statistics/"):
        assert superuser.browser.get(path).headers["Location"] == "/admin/second-step/"
    assert superuser.do("/admin/password_change/", old_password=PASSWORD) == 302
    assert superuser.do("/admin/set-up/", code="000000") == 302


def test_a_code_works_once(superuser: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, _ = set_up_app(superuser.user)
    assert second_factor.show(superuser.user, code_of(secret)) is None, "it has confirmed the app already"
    later(60, monkeypatch)
    code = code_of(secret)
    assert second_factor.show(superuser.user, code)
    assert second_factor.show(superuser.user, code) is None


def test_codes_that_are_too_old_or_of_the_future_are_wrong(superuser: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, _ = set_up_app(superuser.user)
    later(300, monkeypatch)
    for steps in (-2, 2):
        assert second_factor.show(superuser.user, code_of(secret, steps=steps)) is None
        later(0, monkeypatch)
    assert second_factor.show(superuser.user, code_of(secret, steps=1))


def test_a_recovery_code_works_once_however_it_is_typed(superuser: Staff) -> None:
    _, codes = set_up_app(superuser.user)
    typed = codes[0].upper().replace("-", " ")
    assert superuser.do("/admin/second-step/", code=typed) == 302
    assert superuser.status("/admin/") == 200
    assert second_factor.show(superuser.user, codes[0]) is None
    RecoveryCodes.objects.update(throttling_failure_timestamp=None, throttling_failure_count=0)
    assert second_factor.show(superuser.user, codes[1])


def test_codes_cannot_be_tried_for_ever(superuser: Staff) -> None:
    set_up_app(superuser.user)
    answers = [superuser.browser.post("/admin/second-step/", {"code": f"{n:06}"}).content.decode() for n in range(12)]
    assert "a quarter of an hour" in answers[-1]


def test_after_wrong_codes_the_right_one_has_to_wait_and_trying_does_not_lengthen_that(superuser: Staff) -> None:
    secret, _ = set_up_app(superuser.user)
    waits = {"throttling_failure_count": 12, "throttling_failure_timestamp": timezone.now(), "last_step": -1}
    Authenticator.objects.update(**waits)
    for code in (code_of(secret), "000000"):
        assert second_factor.show(superuser.user, code) is None
    assert Authenticator.objects.get().throttling_failure_count == 12
    Authenticator.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(hours=2))
    assert second_factor.show(superuser.user, code_of(secret))
    assert Authenticator.objects.get().throttling_failure_count == 0


def test_the_code_of_another_is_none(superuser: Staff) -> None:
    secret, codes = set_up_app(hire("support").user)
    set_up_app(superuser.user)
    assert second_factor.show(superuser.user, code_of(secret)) is None
    assert second_factor.show(superuser.user, codes[0]) is None


def test_an_open_session_alone_does_not_replace_the_app(superuser: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    _, codes = set_up_app(superuser.user)
    superuser.do("/admin/second-step/", code=codes[0])
    fresh = second_factor.offer(superuser.user).secret
    assert "not right" in superuser.browser.post("/admin/set-up/", {"code": code_of(fresh)}).content.decode()
    forged = {"code": code_of(fresh), "password": "wrong"}
    assert "not right" in superuser.browser.post("/admin/set-up/", forged).content.decode()
    replaced = superuser.browser.post("/admin/set-up/", {"code": code_of(fresh), "password": PASSWORD})
    assert "put them away" in replaced.content.decode()
    assert Authenticator.objects.filter(confirmed=True).count() == 1
    assert second_factor.show(superuser.user, codes[1]) is None, "former recovery codes are over"


def test_an_open_session_does_not_try_passwords_for_ever(superuser: Staff) -> None:
    """On either of the pages that ask for it again: the tries are counted together."""
    _, codes = set_up_app(superuser.user)
    superuser.do("/admin/second-step/", code=codes[0])
    fresh = second_factor.offer(superuser.user).secret

    def replace(password: str) -> str:
        answer = superuser.browser.post("/admin/set-up/", {"code": code_of(fresh), "password": password})
        return str(answer.content.decode())

    def change(password: str) -> Any:
        another = "another horse battery"
        forged = {"old_password": password, "new_password1": another, "new_password2": another}
        return superuser.browser.post("/admin/password_change/", forged)

    assert all("not right" in replace("wrong") for _ in range(5))
    assert [change("wrong").status_code for _ in range(5)] == [200] * 5
    assert "a quarter of an hour" in replace(PASSWORD)
    assert "a quarter of an hour" in change(PASSWORD).content.decode()
    assert User.objects.get(pk=superuser.user.pk).check_password(PASSWORD)
    valkey.client().flushdb()
    assert change(PASSWORD).headers["Location"] == "/admin/password_change/done/"


def test_a_reader_of_the_database_finds_nothing_to_log_in_with(superuser: Staff) -> None:
    secret, codes = set_up_app(superuser.user)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(a)::text FROM accounts_authenticator a")
        kept = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT row_to_json(r)::text FROM accounts_recovery_codes r")
        kept += [row[0] for row in cursor.fetchall()]
    raw = Authenticator.objects.get().secret
    for known in (secret, raw.hex(), *codes, *(code.replace("-", "") for code in codes)):
        assert not any(known in row for row in kept)


def test_a_session_knows_no_secret_either(superuser: Staff) -> None:
    set_up_app(superuser.user)
    kept = [json.dumps(session.get_decoded()) for session in Session.objects.all()]
    assert kept
    assert not any(PASSWORD in row or "secret" in row for row in kept)


def test_losing_both_is_mended_by_a_superuser(superuser: Staff, support: Staff) -> None:
    set_up_app(support.user)
    assert superuser.do(f"/admin/accounts/user/{support.user.pk}/reset-second-step/", reason="owner") == 302
    assert not second_factor.is_set_up(support.user)
    assert SecurityEvent.objects.filter(kind="second_factor_reset", user_id=support.user.pk).count() == 1


# --- the command --------------------------------------------------------------------------------------------------------------------------


def test_staff_is_appointed_and_dismissed_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("staff", "appoint", "+66855555555", "security")
    password = capsys.readouterr().out.split("one-time password ")[1].split()[0]
    browser, entered = enter("+66855555555", password)
    assert entered.status_code == 302
    assert browser.get("/admin/").headers["Location"] == "/admin/password_change/"
    call_command("staff", "list")
    assert "security  active, no second step" in capsys.readouterr().out
    call_command("staff", "dismiss", "+66855555555")
    assert browser.get("/admin/").headers["Location"].startswith("/admin/login/")
    for wrong in (["dismiss", "+66855555555"], ["appoint", "0855555555", "support"]):
        with pytest.raises(CommandError):
            call_command("staff", *wrong)


def test_who_is_appointed_anew_sets_everything_up_anew(superuser: Staff) -> None:
    set_up_app(superuser.user)
    call_command("staff", "appoint", NUMBERS["superuser"], "support")
    user = User.objects.get(pk=superuser.user.pk)
    assert (user.is_superuser, user.check_password(PASSWORD), second_factor.is_set_up(user)) == (False, False, False)
    assert superuser.status("/admin/") == 302
