"""The commands `devices`, `unlink` and `fingerprints`."""

from typing import Any

from . import lines
from .client import Client
from .console import Options, command, folder, say


def add(commands: Any) -> None:
    """Add them to the others."""
    command(commands, "devices", _devices, "list the devices of your account")
    unlink = command(commands, "unlink", _unlink, "unlink a device of your account")
    unlink.add_argument("device")
    unlink.add_argument("--pin")
    fingerprints = command(commands, "fingerprints", _fingerprints, "print identity keys to compare with someone")
    fingerprints.add_argument("user", nargs="?")


async def _devices(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        for device in await client.devices():
            say(options, lines.device(device), device)


async def _unlink(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        await client.unlink_device(options.device, pin=options.pin)
        say(options, f"Unlinked device {options.device}.", {"unlinked": options.device})


async def _fingerprints(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        if options.user is None:
            say(
                options,
                f"{client.device_id}  {client.own_fingerprint}  this device",
                {client.device_id: client.own_fingerprint},
            )
            return
        for device_id, fingerprint in client.fingerprints(await client.user_id_of(options.user)).items():
            say(options, f"{device_id}  {fingerprint}", {device_id: fingerprint})
