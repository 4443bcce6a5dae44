"""`waypost pin …`."""

import argparse
from typing import Any

from .client import Client
from .console import Options, add_profile, command, folder, say
from .pin import PinStatus

NEW, CURRENT = "New PIN: ", "Current PIN: "


def add(commands: Any) -> None:
    """The commands, beside the others."""
    pin = commands.add_parser(
        "pin", help="set, change or remove your account's PIN", description="Your account's PIN and registration lock."
    )
    add_profile(pin, default=False)
    actions = pin.add_subparsers(metavar="action", required=True)
    setting = command(actions, "set", _set, "set a PIN where there is none", asks={"pin": NEW})
    changing = command(
        actions, "change", _set, "change the PIN, or the lock", asks={"current_pin": CURRENT, "pin": NEW}
    )
    removing = command(actions, "remove", _remove, "remove the PIN and the lock", asks={"current_pin": CURRENT})
    command(actions, "status", _status, "print whether a PIN and the lock are set")
    setting.set_defaults(current_pin=None)
    for action in (setting, changing):
        action.add_argument("--pin", help="the new one; asked for if not given")
        action.add_argument(
            "--lock",
            action=argparse.BooleanOptionalAction,
            help="whether nobody may sign in with your number without the PIN",
        )
    for action in (changing, removing):
        action.add_argument("--current-pin", help="asked for if not given")


async def _set(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        status = await client.pin.set(options.pin, current=options.current_pin, registration_lock=options.lock)
        say(options, describe(status), status)


async def _remove(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        await client.pin.remove(options.current_pin)
        status = await client.pin.status()
        say(options, describe(status), status)


async def _status(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        status = await client.pin.status()
        say(options, describe(status), status)


def describe(status: PinStatus) -> str:
    """The PIN's state in a sentence."""
    if not status.has_pin:
        return "No PIN is set."
    lock = "on" if status.registration_lock else "off"
    until = f" until {status.locked_until:%Y-%m-%d %H:%M} UTC" if status.locked_until else ""
    return f"A PIN is set, the registration lock is {lock}, {status.attempts_remaining} tries are left{until}."
