"""The command `keys`."""

from typing import Any

from . import lines
from .client import Client
from .console import Options, command, folder, say


def add(commands: Any) -> None:
    """Add it to the others."""
    keys = command(commands, "keys", _keys, "look after the keys the server has of this device")
    keys.add_argument(
        "action",
        nargs="?",
        choices=("count", "check", "rotate"),
        default="count",
        help="how many one-time prekeys are left; whether the server has your keys; new ones now (default: count)",
    )


async def _keys(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        match options.action:
            case "count":
                left = await client.prekeys_left()
                say(options, lines.prekeys(left), left)
            case "check":
                same = await client.check_keys()
                said = "The server has your keys." if same else "The server had other keys; it was given yours again."
                say(options, said, {"result": "same" if same else "differs"})
            case _:
                await client.rotate_keys()
                say(options, "The server has a new signed prekey and a new last resort.", {"rotated": True})
