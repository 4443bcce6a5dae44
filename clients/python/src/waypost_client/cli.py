"""The `waypost` command."""

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from . import key_commands, lines, link_commands, people_commands, pin_commands, push_commands
from .client import Client, is_uuid
from .codes import CodeSource, PinSource, from_file
from .console import (
    PLATFORMS,
    Options,
    add_profile,
    aside,
    ask_secrets,
    command,
    folder,
    prompt,
    say,
    typed_lines,
    unseen,
)
from .errors import (
    ConnectedElsewhere,
    NoCode,
    NotAnswered,
    NotRegistered,
    ProfileInUse,
    Refused,
    SignedOut,
    Unreachable,
    WaypostError,
)
from .events import CaughtUp, Event, Message, Receipt, SystemEvent
from .names import Names

DEFAULT_SERVER = "http://localhost:8000"
CODE = re.compile(r"[0-9]{6}")
EXIT_CODES: tuple[tuple[type[WaypostError], int], ...] = (
    (NotRegistered, 3),
    (SignedOut, 3),
    (Unreachable, 4),
    (ProfileInUse, 5),
    (ConnectedElsewhere, 5),
    (NotAnswered, 6),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. 0: done; 1: refused; 2: usage; 3: no device here; 4: no server; 5: used elsewhere; 6: only queued."""
    options = parser().parse_args(arguments)
    try:
        ask_secrets(options)
        asyncio.run(_until_stopped(options))
    except WaypostError as error:
        print(f"waypost: {explain(error)}", file=sys.stderr)
        return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
    except KeyboardInterrupt:
        return 0 if options.stops_quietly else 130
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter would complain once more while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def explain(error: WaypostError) -> str:
    """The sentence, and what to do about it where the server's facts tell."""
    if not isinstance(error, Refused):
        return str(error)
    return " ".join(filter(None, [str(error), ADVICE.get(error.code, _when_again)(error)]))


def _tries_left(error: Refused) -> str:
    left = error.facts.get("attempts_remaining")
    return "" if left is None else f"{left} tries are left."


def _give_pin(error: Refused) -> str:
    return f"Give the account's PIN with --pin. {_tries_left(error)}".rstrip()


def _make_room(error: Refused) -> str:
    known = "; ".join(f"{device.get('device_id')} {device.get('name')}" for device in error.facts.get("devices") or ())
    return f"Unlink one of them with --unlink: {known}." if known else ""


def _ask_anew(error: Refused) -> str:
    return _tries_left(error) if error.facts.get("attempts_remaining") else "Register again to be sent another one."


def _when_again(error: Refused) -> str:
    return f"Try again in {lines.duration(error.retry_after)}." if error.retry_after else ""


ADVICE: dict[str, Callable[[Refused], str]] = {
    "REGISTRATION_LOCKED": _give_pin,
    "UNAUTHORIZED": _tries_left,
    "DEVICE_LIMIT": _make_room,
    "INVALID_OTP": _ask_anew,
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="waypost", description="Talk end-to-end encrypted over a Waypost server.")
    add_profile(top, default=True)
    commands = top.add_subparsers(metavar="command", required=True)
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
    listen = command(commands, "listen", _listen, "print messages as they come", stops_quietly=True)
    listen.add_argument("--count", type=int, metavar="N", help="end after N messages")
    listen.add_argument("--once", action="store_true", help="end when all that was waiting is printed")
    listen.add_argument("--mark-read", action="store_true", help="tell the senders that their messages were read")
    listen.add_argument("--receipts", action="store_true", help="print who received and read what")
    chat = command(commands, "chat", _chat, "talk: prints what comes, sends each line you type", stops_quietly=True)
    chat.add_argument("to", help="a user name or a conversation's id")
    send = command(commands, "send", _send, "send one text, also beside a running listen or chat")
    send.add_argument("to", help="a user name or a conversation's id")
    send.add_argument("text", nargs="+")
    send.add_argument("--within", type=float, default=30.0, metavar="SECONDS", help="how long to wait for the server")
    command(commands, "conversations", _conversations, "list your conversations")
    history = command(commands, "history", _history, "print what this device has opened or sent")
    history.add_argument("to", help="a user name or a conversation's id")
    history.add_argument("--limit", type=int, default=50)
    group = command(commands, "group", _group, "make a group")
    group.add_argument("title")
    group.add_argument("members", nargs="*")
    add = command(commands, "add", _add, "add members to a group")
    add.add_argument("conversation")
    add.add_argument("members", nargs="+")
    remove = command(commands, "remove", _remove, "remove a member from a group")
    remove.add_argument("conversation")
    remove.add_argument("member")
    leave = command(commands, "leave", _leave, "leave a group")
    leave.add_argument("conversation")
    leave.add_argument("--successor", help="who becomes admin, if you are the last one")
    command(commands, "devices", _devices, "list the devices of your account")
    unlink = command(commands, "unlink", _unlink, "unlink a device of your account")
    unlink.add_argument("device")
    unlink.add_argument("--pin")
    for subject in (pin_commands, people_commands, key_commands, link_commands, push_commands):
        subject.add(commands)
    fingerprints = command(commands, "fingerprints", _fingerprints, "print identity keys to compare with someone")
    fingerprints.add_argument("user", nargs="?")
    return top


async def _until_stopped(options: Options) -> None:
    """SIGTERM ends a command as tidily as Ctrl-C does."""
    running = asyncio.ensure_future(options.run(options))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


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


async def _listen(options: Options) -> None:
    async with Client.open(folder(options)) as client:
        screen = Screen(options, client)
        left = options.count
        async for event in client.events():
            await screen.show(event)
            if isinstance(event, Message):
                if options.mark_read and not event.own:
                    await client.read(event.conversation_id, event.seq)
                left = None if left is None else left - 1
            if left == 0 or (options.once and isinstance(event, CaughtUp)):
                return


async def _chat(options: Options) -> None:
    async with Client.open(folder(options)) as client:
        conversation_id, title = await _conversation(client, options.to)
        aside(options, f"Talking to {title}. Each line you type is sent; Ctrl-D ends.")
        showing = asyncio.ensure_future(_show_all(options, client, conversation_id))
        typing = asyncio.ensure_future(_send_lines(options, client, conversation_id))
        try:
            done, _ = await asyncio.wait({showing, typing}, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
        finally:
            showing.cancel()
            typing.cancel()
            await asyncio.gather(showing, typing, return_exceptions=True)


async def _show_all(options: Options, client: Client, conversation_id: str) -> None:
    screen = Screen(options, client, at=conversation_id)
    async for event in client.events():
        await screen.show(event)
        if isinstance(event, Message) and event.conversation_id == conversation_id:
            await client.read(conversation_id, event.seq)


async def _send_lines(options: Options, client: Client, conversation_id: str) -> None:
    """Lines go out in the order they were typed. One that is refused is told and does not stop the others."""
    async for line in typed_lines():
        if not line.strip():
            continue
        try:
            sent = await client.send(conversation_id, line)
        except (Refused, NotAnswered) as error:
            aside(options, f"Not sent: {explain(error)}")
            continue
        if not sys.stdin.isatty():
            say(options, f"{lines.clock(sent.sent_at)} You: {line}", sent)


async def _send(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        conversation_id, title = await _conversation(client, options.to)
        sent = await client.send(conversation_id, " ".join(options.text), within=options.within)
        say(options, f"Sent to {title}, message {sent.seq}.", sent)


async def _conversations(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        for conversation in await client.conversations():
            say(options, lines.conversation(conversation), conversation)


async def _history(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        conversation_id, _ = await _conversation(client, options.to)
        screen = Screen(options, client, at=conversation_id)
        for event in client.history(conversation_id, limit=options.limit):
            await screen.show(event)


async def _group(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        group = await client.create_group(options.title, options.members)
        say(options, lines.conversation(group), group)


async def _add(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        for member in await client.add_members(options.conversation, options.members):
            say(options, f"Added {member.name}.", member)


async def _remove(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        await client.remove_member(options.conversation, options.member)
        say(options, f"Removed {options.member}.", {"removed": options.member})


async def _leave(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        await client.leave(options.conversation, successor=options.successor)
        say(options, "Left.", {"left": options.conversation})


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


async def _conversation(client: Client, to: str) -> tuple[str, str]:
    """The conversation meant by a name or an id, and what to call it."""
    conversation = await (client.conversation(to) if is_uuid(to) else client.direct(to))
    return conversation.conversation_id, conversation.title


class Screen:
    """Events on standard output, the state of the connection on standard error. `at`: where the reader is."""

    def __init__(self, options: Options, client: Client, *, at: str | None = None) -> None:
        self._options = options
        self._client = client
        self._names = Names(client)
        self._at = at

    async def show(self, event: Event) -> None:
        if isinstance(event, Receipt) and not getattr(self._options, "receipts", False):
            return
        status = lines.status(event)
        if self._options.json:
            print(msgspec.json.encode(event).decode(), flush=True)
        elif status is not None:
            aside(self._options, status)
        elif (line := await self._line(event)) is not None:
            print(line, flush=True)

    async def _line(self, event: Event) -> str | None:
        names = self._names
        match event:
            case Message():
                mine = event.sender_user_id == self._client.user_id
                place = await names.place(event.conversation_id, at=self._at, said=not mine)
                return lines.message(event, await names.person(event.sender_user_id, event.conversation_id), place)
            case SystemEvent():
                place = await names.place(event.conversation_id, at=self._at)
                return lines.system(event, await names.people(event.conversation_id), place)
            case Receipt():
                return lines.receipt(event, await names.person(event.user_id, event.conversation_id))
            case _:
                about = getattr(event, "sender_user_id", None) or getattr(event, "user_id", None)
                return lines.notice(event, await names.person(about, getattr(event, "conversation_id", None)))
