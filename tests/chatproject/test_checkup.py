"""The checkup: what it does on a server that is well, and that everything which is not is a failure with a sentence."""

import io
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from accounts import otp
from accounts.models import User
from chatproject.checkup.codes import any_number
from chatproject.checkup.keys import IdentityKey
from devices import xed25519
from tests.cast import Installation, any_phone_number

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])

NOWHERE = "127.0.0.1:1"


async def checkup(at: str, *arguments: str, **changes: Any) -> tuple[str, str]:
    """What the command printed, and the sentence it failed with: none, when all was well."""
    output = io.StringIO()

    def run() -> str:
        try:
            with override_settings(**changes):
                call_command("checkup", *arguments, "--server", at.replace("ws://", "http://"), stdout=output)
        except CommandError as failure:
            return str(failure)
        finally:
            connections.close_all()
        return ""

    failure = await sync_to_async(run, thread_sensitive=False)()
    return output.getvalue(), failure


def rows(output: str, mark: str) -> list[str]:
    return [line.strip() for line in output.splitlines() if line.strip().startswith(mark)]


async def test_a_life_is_lived_with_codes_from_the_file_and_nobody_stays(server: str) -> None:
    output, failure = await checkup(server)
    assert (failure, rows(output, "✗"), rows(output, "·")) == ("", [], [])
    assert output.splitlines()[-1] == "All is well."
    assert await User.objects.filter(is_active=True).acount() == 0


def test_its_people_have_numbers_that_codes_are_sent_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """+1 900 is premium-rate: one number in eight hundred."""
    drawn = iter([900 - 200, 1, 212 - 200, 1])
    monkeypatch.setattr("secrets.randbelow", lambda _: next(drawn))
    assert any_number() == "+12125550101"


async def test_where_codes_are_not_to_be_read_none_is_sent(server: str, settings: Any) -> None:
    path = Path(settings.SMS_URL.removeprefix("file://"))
    for arguments, changes in ((["--without-sms"], {}), ([], {"SMS_URL": "console://"})):
        output, failure = await checkup(server, *arguments, **changes)
        assert failure == ""
        assert any("a code by SMS" in row for row in rows(output, "·"))
    assert not path.exists()  # noqa: ASYNC240  (a look, after everything)


async def test_each_store_that_is_away_is_named(server: str) -> None:
    output, failure = await checkup(server, REDIS_URL=f"redis://{NOWHERE}/0")
    assert "Redis or Valkey answers, keeps and forgets: " in failure
    assert len(rows(output, "✗")) == 1
    assert "not tried: a store is away" in output


async def test_a_server_that_is_away_is_a_failure_of_its_own() -> None:
    output, failure = await checkup(f"http://{NOWHERE}")
    assert f"the server at http://{NOWHERE} is ready: the server cannot be reached" in failure
    assert len(rows(output, "✗")) == 1


def test_nobody_is_vouched_for_who_has_an_account(alice_phone: Installation) -> None:
    with pytest.raises(ValueError, match="has an account"):
        otp.vouch(alice_phone.phone_number)


def test_a_number_that_was_vouched_for_registers_like_any_other(alice_phone: Installation) -> None:
    newcomer = Installation(phone_number=any_phone_number())
    token = otp.vouch(newcomer.phone_number)
    answer = newcomer.http.post(
        "auth/register-device", {"registration_token": token, "device": newcomer.device_input()}
    )
    assert answer.status == 201
    assert answer.body["user_id"] != alice_phone.user_id


def test_signatures_of_the_checkup_are_libsignals_with_either_sign() -> None:
    made = [(key := IdentityKey(), key.sign(b"a prekey")) for _ in range(32)]
    assert {signature[-1] & 0x80 for _, signature in made} == {0, 0x80}
    assert all(xed25519.verify(key.public[1:], b"a prekey", signature) for key, signature in made)
    assert not any(xed25519.verify(key.public[1:], b"another", signature) for key, signature in made)
