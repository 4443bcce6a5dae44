"""The command `register`."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from . import lines
from .client import Client
from .codes import CodeSource, PinSource, from_file
from .console import PLATFORMS, Options, command, folder, prompt, say, typed_lines, unseen
from .errors import NoCode

DEFAULT_SERVER = "http://localhost:8000"
CODE = re.compile(r"[0-9]{6}")


def add(commands: Any) -> None:
    """Add it to the others."""
    register = command(commands, "register", _register, "make this profile a device of your account")
    register.add_argument(
        "--server", default=os.environ.get("WAYPOST_SERVER", DEFAULT_SERVER), help="default: %(default)s"
    )
    register.add_argument("--phone", required=True, help="your number, like +66812345678")
    register.add_argument("--name", default="this computer", help="what to call this device")
    register.add_argument("--platform", choices=PLATFORMS, default="desktop")
    register.add_argument("--display-name", help="what others call you")
    register.add_argument("--username", help="how others find you")
    register.add_argument(
        "--code-file", type=Path, help="read the code from the file of SMS_URL=file://... instead of asking"
    )
    register.add_argument("--pin", help="the account's PIN, if it has a registration lock; asked for if not given")
    register.add_argument("--unlink", metavar="DEVICE", help="unlink this device to make room")


async def _register(options: Options) -> None:
    code_source, pin_source = _sources(options)
    mistyped = None if options.code_file is not None else _tell_mistyped
    client = await Client.register(
        options.server,
        options.phone,
        code_source,
        state=folder(options),
        name=options.name,
        platform=options.platform,
        mistyped=mistyped,
        pin=options.pin if options.pin is not None else pin_source,
        unlink_device_id=options.unlink,
    )
    async with Client.open(client.folder, online=False) as device:
        changes = {"display_name": options.display_name, "username": options.username}
        wanted = {name: value for name, value in changes.items() if value is not None}
        person = await device.set_profile(**wanted) if wanted else None
        known_as = f" of {lines.user(person)}" if person else ""
        facts = {"user_id": device.user_id, "device_id": device.device_id, "fingerprint": device.own_fingerprint}
        say(options, f"Registered {options.name}{known_as}, device {device.device_id}.", facts)


def _sources(options: Options) -> tuple[CodeSource, PinSource | None]:
    """Where the code and the PIN come from: one reader of what is typed serves both."""
    typed = typed_lines()

    async def ask_code() -> str:
        prompt(f"The code sent to {options.phone}: ")
        while (line := await anext(typed, None)) is not None:
            code = "".join(line.split())
            if CODE.fullmatch(code):
                return code
            # Not worth one of the few tries.
            prompt("A code has six digits: ")
        raise NoCode

    async def ask_pin(left: int | None) -> str | None:
        if left is not None:
            prompt(f"This is not the PIN. {left} {'tries are' if left > 1 else 'try is'} left. ")
        prompt("The account's PIN: ")
        with unseen():
            return await anext(typed, None)

    if options.code_file is None:
        return ask_code, ask_pin
    return from_file(options.code_file, options.phone), ask_pin if sys.stdin.isatty() else None


def _tell_mistyped(left: int) -> None:
    prompt(f"This is not the code. {left} {'tries are' if left > 1 else 'try is'} left. ")
