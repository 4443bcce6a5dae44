"""`waypost link`, `claim`, `approve` and `delete-account`."""

import sys
from typing import Any

from .client import Client
from .console import PLATFORMS, Options, aside, command, folder, prompt, say, typed_lines
from .errors import NotTyped
from .linking import Claimant


def add(commands: Any) -> None:
    """The commands, beside the others."""
    link = command(commands, "link", _link, "let another device into your account: shows a QR code, then asks")
    link.add_argument("--text", action="store_true", help="the code's text alone, and do not wait for the claimant")
    claim = command(commands, "claim", _claim, "make this profile a device of the account that shows a QR code")
    claim.add_argument("code", metavar="TEXT", help="the code's text; - reads it from standard input")
    claim.add_argument("--name", default="this computer", help="what to call this device")
    claim.add_argument("--platform", choices=PLATFORMS, default="desktop")
    approve = command(commands, "approve", _approve, "let in, or reject, whoever has claimed a link")
    approve.add_argument("link_id")
    approve.add_argument("--fingerprint", help="let in without asking, if this is the claimant's")
    approve.add_argument("--reject", action="store_true", help="reject without asking")
    delete = command(commands, "delete-account", _delete, "delete your account for good, on all its devices")
    delete.add_argument("--pin", help="the account's PIN, if it has one")
    delete.add_argument("--yes", action="store_true", help="do not ask")


async def _link(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        opened = await client.linking.open()
        if options.text or options.json:
            say(options, opened.text, opened)
            return
        say(options, picture(opened.text), opened)
        aside(options, f"Read this code with the new device within five minutes (link {opened.link_id}).")
        await _decide(options, client, opened.link_id)


async def _approve(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        if options.reject:
            await _reject(options, client, options.link_id)
        elif options.fingerprint:
            await _let_in(options, client, options.link_id, options.fingerprint)
        else:
            await _decide(options, client, options.link_id)


async def _decide(options: Options, client: Client, link_id: str) -> None:
    """Show who is there, and ask."""
    claimant = await client.linking.claimant(link_id)
    aside(options, describe(claimant))
    if await _says_yes("Does the new device show the same fingerprint? [y/N] "):
        await _let_in(options, client, link_id, claimant.fingerprint)
    else:
        await _reject(options, client, link_id)


async def _let_in(options: Options, client: Client, link_id: str, fingerprint: str) -> None:
    device_id = await client.linking.approve(link_id, fingerprint=fingerprint)
    say(options, f"Approved: device {device_id}.", {"link_id": link_id, "device_id": device_id})


async def _reject(options: Options, client: Client, link_id: str) -> None:
    await client.linking.reject(link_id)
    say(options, "Rejected.", {"link_id": link_id, "rejected": True})


async def _claim(options: Options) -> None:
    text = sys.stdin.readline().strip() if options.code == "-" else options.code

    def show(fingerprint: str) -> None:
        say(options, f"This device's fingerprint: {fingerprint}", {"fingerprint": fingerprint})
        aside(options, "Approve it on the device that shows the code.")

    client = await Client.claim(text, state=folder(options), name=options.name, platform=options.platform, show=show)
    async with Client.open(client.folder, online=False) as device:
        facts = {"user_id": device.user_id, "device_id": device.device_id}
        say(options, f"Linked {options.name}, device {device.device_id}.", facts)


async def _delete(options: Options) -> None:
    if not options.yes and not await _says_yes("Delete your account for good, on all its devices? [y/N] "):
        raise NotTyped("Nothing was deleted.")
    async with Client.open(folder(options), online=False) as client:
        deleted = await client.delete_account(pin=options.pin)
        say(options, f"Your account was deleted at {deleted.deleted_at:%Y-%m-%d %H:%M} UTC.", deleted)


async def _says_yes(question: str) -> bool:
    prompt(question)
    typed = await anext(typed_lines(), None)
    return typed is not None and typed.strip().lower() in ("y", "yes")


def describe(claimant: Claimant) -> str:
    """Who wants in, in two lines. The name is the claimant's word, the fingerprint is not."""
    return f"{claimant.name} ({claimant.platform}) has claimed the link.\nIts fingerprint: {claimant.fingerprint}"


def picture(text: str) -> str:
    """The QR code for a terminal, with its text below; the text alone where `segno` is not installed."""
    try:
        import segno  # noqa: PLC0415 - an extra
    except ImportError:
        return text
    matrix = [[False] * 2 + [bool(dark) for dark in row] + [False] * 2 for row in segno.make_qr(text, error="l").matrix]
    wide = [False] * len(matrix[0])
    rows = [wide, wide, *matrix, wide, wide]
    rows += [wide] if len(rows) % 2 else []
    pairs = zip(rows[::2], rows[1::2], strict=True)
    halves = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    drawn = "\n".join("".join(halves[pair] for pair in zip(*lines, strict=True)) for lines in pairs)
    return f"{drawn}\n{text}"
