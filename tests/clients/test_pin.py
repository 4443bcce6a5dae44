"""PIN and registration lock through the client and its command, on a real server."""

import asyncio
import io
import os
import termios
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from waypost_client import Client, Refused, advice, cli, lines
from waypost_client.codes import from_file
from waypost_client.console import unseen
from waypost_client.events import DevicesChanged
from waypost_client.pin import PinStatus
from waypost_client.pin_commands import describe

from tests.cast import any_phone_number
from tests.clients.people import ALICE
from tests.messaging.conftest import server  # noqa: F401  (a fixture)

PIN = "2580"
Register = Callable[..., Any]


@pytest.fixture
def register(server: str, tmp_path: Path, settings: Any) -> Register:  # noqa: F811
    """`await register("phone")`: makes a profile of that name a device of one and the same number."""
    settings.LIMITS = settings.LIMITS | {"OTP_DELAYS": [0], "OTP_PER_NUMBER_DAY": [0]}
    number = any_phone_number()

    async def one(name: str, **options: Any) -> Client:
        codes = from_file(Path(django_settings.SMS_URL.removeprefix("file://")), number, patience=10)
        url = server.replace("ws://", "http://")
        return await Client.register(url, number, codes, state=tmp_path / name, name=name, **options)

    return one


async def waypost(*arguments: str, typed: str = "", monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command as a program would: in a thread with a loop of its own."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
    return await asyncio.to_thread(cli.main, arguments)


@pytest.mark.django_db(transaction=True, databases=["default", "messages"])
async def test_a_second_device_needs_the_pin_that_the_first_has_set(register: Register) -> None:
    async with Client.open((await register("phone")).folder, online=False) as client:
        assert not (await client.pin.status()).has_pin
        assert (await client.pin.set(PIN, registration_lock=True)).registration_lock
        await client.pin.verify(PIN)
        with pytest.raises(Refused) as refused:
            await client.pin.set("9999", current="0000")
        assert refused.value.facts["attempts_remaining"] == 4
        with pytest.raises(Refused) as refused:
            await register("laptop")
        assert refused.value.code == "REGISTRATION_LOCKED"
        assert "Give the account's PIN with --pin. 4 tries are left." in advice.explain(refused.value)

        async def asked(left: int | None) -> str:
            return PIN if left is not None else "0000"

        await register("laptop", pin=asked)
        await client.pin.remove(PIN)
        assert not (await client.pin.status()).has_pin

        async def never_asked(left: int | None) -> str:
            raise AssertionError

        await register("tablet", pin=never_asked)


@pytest.mark.django_db(transaction=True, databases=["default", "messages"])
async def test_the_command_asks_for_pins_and_shows_none(
    register: Register, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    state = ("--state", str((await register("phone")).folder))

    async def pin(*arguments: str, typed: str = "") -> int:
        return await waypost("pin", *arguments, *state, typed=typed, monkeypatch=monkeypatch)

    assert await pin("set", "--lock", typed=f"{PIN}\n") == 0
    assert await pin("set", typed="9999\n") == 1
    assert await pin("change", "--no-lock", typed=f"{PIN}\n9999\n") == 0
    assert await pin("status", "--json") == 0
    assert await pin("remove", typed=f"{PIN}\n") == 1
    assert await pin("remove", "--current-pin", "9999") == 0
    assert await pin("set", typed="") == 1
    told = capfd.readouterr()
    assert told.out.splitlines() == [
        "A PIN is set, the registration lock is on, 5 tries are left.",
        "A PIN is set, the registration lock is off, 5 tries are left.",
        '{"has_pin":true,"registration_lock":false,"attempts_remaining":5,"locked_until":null}',
        "No PIN is set.",
    ]
    assert told.err.splitlines() == [
        "waypost: This is not the PIN of the account. 5 tries are left.",
        "waypost: This is not the PIN of the account. 4 tries are left.",
        "waypost: Nothing was typed.",
    ]


def test_when_the_next_try_comes_is_told() -> None:
    until = datetime(2025, 11, 21, 10, 15, tzinfo=UTC)
    told = describe(PinStatus(has_pin=True, registration_lock=True, attempts_remaining=0, locked_until=until))
    assert told == "A PIN is set, the registration lock is on, 0 tries are left until 2025-11-21 10:15 UTC."


def test_a_person_is_warned_of_whoever_tries_to_be_them() -> None:
    told = [
        lines.notice(DevicesChanged(user_id=ALICE, device_id=device_id, reason=reason), "You")
        for device_id, reason in ((None, "registration_attempt"), ("1001", "token_reuse"), ("1002", "linked"))
    ]
    assert told[2] is None
    assert "did not know your PIN, and was not let in" in str(told[0])
    assert "device 1001 was signed out" in str(told[1])


def test_what_is_typed_in_secret_does_not_appear_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with open(ours, "rb", buffering=0), open(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)

        def is_echoed() -> bool:
            return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)

        assert is_echoed()
        with unseen():
            assert not is_echoed()
        assert is_echoed()
