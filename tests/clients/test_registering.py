"""`waypost register` with somebody at the keyboard who mistypes, on a real server."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from waypost_client import Client, Refused, cli

from tests.cast import Installation, any_phone_number, last_code, messages_to
from tests.messaging.conftest import server  # noqa: F401  (a fixture)
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@dataclass
class Keyboard:
    """What is typed at it the command reads."""

    stdin: IO[str]
    keys: IO[str]

    def type(self, *lines: str) -> None:
        self.keys.writelines(f"{line}\n" for line in lines)
        self.keys.flush()


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    reading, writing = os.pipe()
    with open(reading) as stdin, open(writing, "w") as keys:
        monkeypatch.setattr("sys.stdin", stdin)
        yield Keyboard(stdin, keys)


@dataclass
class Registering:
    """The command at work, in a thread with a loop of its own as a program has it."""

    state: Path
    url: str
    number: str = field(default_factory=any_phone_number)

    async def texted(self, *more: str) -> tuple["asyncio.Future[int]", str]:
        """The command once its code was sent, and that code."""
        options = ("--server", self.url, "--phone", self.number, "--state", str(self.state), *more)
        ending = asyncio.ensure_future(asyncio.to_thread(cli.main, ["register", *options]))
        sms = Path(settings.SMS_URL.removeprefix("file://"))
        await until(lambda: sms.exists() and bool(messages_to(self.number)))
        return ending, last_code(self.number)


@pytest.fixture
def registering(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registering:  # noqa: F811
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
    return Registering(tmp_path / "phone", server.replace("ws://", "http://"))


def wrong(code: str, by: int = 1) -> str:
    return f"{(int(code) + by) % 10**6:06}"


async def test_a_mistyped_code_is_asked_for_again(
    registering: Registering, keyboard: Keyboard, capfd: pytest.CaptureFixture[str]
) -> None:
    ending, code = await registering.texted()
    keyboard.type(wrong(code), "12345", "", wrong(code, 2), f" {code[:3]} {code[3:]} ")
    assert await ending == 0
    told = capfd.readouterr()
    assert "Registered this computer" in told.out
    assert "This is not the code. 4 tries are left. " in told.err
    assert "This is not the code. 3 tries are left. " in told.err
    assert told.err.count("A code has six digits: ") == 2, "what cannot be a code costs no try"
    assert len(messages_to(registering.number)) == 1


async def test_after_five_wrong_ones_the_command_ends_and_says_what_to_do(
    registering: Registering, keyboard: Keyboard, capfd: pytest.CaptureFixture[str]
) -> None:
    ending, code = await registering.texted()
    keyboard.type(*(wrong(code, by) for by in range(1, 6)))
    assert await ending == 1
    told = capfd.readouterr().err
    assert "This is not the code. 1 try is left. " in told
    assert told.endswith("ask for a new one. Register again to be sent another one.\n")
    assert len(messages_to(registering.number)) == 1


async def test_whoever_types_no_more_hears_that_the_code_was_wrong(
    registering: Registering, keyboard: Keyboard, capfd: pytest.CaptureFixture[str]
) -> None:
    ending, code = await registering.texted()
    keyboard.type(wrong(code))
    keyboard.keys.close()
    assert await ending == 1
    assert capfd.readouterr().err.endswith("waypost: The code is wrong or has expired. 4 tries are left.\n")


async def test_asking_too_soon_is_told_with_the_time_to_wait(
    registering: Registering, keyboard: Keyboard, capfd: pytest.CaptureFixture[str]
) -> None:
    ending, _ = await registering.texted()
    keyboard.keys.close()
    assert await ending == 1
    again = await asyncio.to_thread(
        cli.main,
        ["register", "--server", registering.url, "--phone", registering.number, "--state", str(registering.state)],
    )
    assert again == 1
    told = capfd.readouterr().err.splitlines()[-1]
    assert told.startswith("waypost: A code was sent a moment ago; ask for another one later. Try again in ")


async def test_a_program_that_wants_no_second_try_is_refused_at_the_first(registering: Registering) -> None:
    async def never_right() -> str:
        return wrong(last_code(registering.number))

    with pytest.raises(Refused) as refused:
        await Client.register(registering.url, registering.number, never_right, state=registering.state, name="a phone")
    assert (refused.value.code, refused.value.facts["attempts_remaining"]) == ("INVALID_OTP", 4)


def lock_account(number: str) -> None:
    """The number's account gets a PIN and the registration lock; what was texted until now is forgotten."""
    phone = Installation(phone_number=number).register()
    assert phone.http.put("auth/pin", {"pin": "2580", "registration_lock": True}).status == 200
    Path(settings.SMS_URL.removeprefix("file://")).write_text("")


async def test_the_pin_of_a_locked_account_is_asked_for_until_it_is_right(
    registering: Registering, keyboard: Keyboard, capfd: pytest.CaptureFixture[str]
) -> None:
    await sync_to_async(lock_account)(registering.number)
    ending, code = await registering.texted()
    keyboard.type(code, "0000", "2580")
    assert await ending == 0
    told = capfd.readouterr()
    assert "This is not the PIN. 4 tries are left. The account's PIN: " in told.err
    assert "Registered this computer" in told.out


async def test_whoever_does_not_know_the_pin_is_told_of_the_lock(
    registering: Registering, keyboard: Keyboard, capfd: pytest.CaptureFixture[str]
) -> None:
    await sync_to_async(lock_account)(registering.number)
    ending, code = await registering.texted()
    keyboard.type(code, "0000")
    keyboard.keys.close()
    assert await ending == 1
    assert capfd.readouterr().err.endswith("Give the account's PIN with --pin. 4 tries are left.\n")
