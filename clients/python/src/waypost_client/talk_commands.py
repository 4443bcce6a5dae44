"""The commands `listen`, `chat`, `send` and `history`."""

import asyncio
import sys
from typing import Any

from . import lines
from .advice import explain
from .client import Client
from .console import Options, aside, command, folder, say, typed_lines
from .errors import NotAnswered, Refused
from .events import CaughtUp, Message
from .listing import is_uuid
from .screen import Screen


def add(commands: Any) -> None:
    """Add them to the others."""
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
    history = command(commands, "history", _history, "print what this device has opened or sent")
    history.add_argument("to", help="a user name or a conversation's id")
    history.add_argument("--limit", type=int, default=50)


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


async def _history(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        conversation_id, _ = await _conversation(client, options.to)
        screen = Screen(options, client, at=conversation_id)
        for event in client.history(conversation_id, limit=options.limit):
            await screen.show(event)


async def _conversation(client: Client, to: str) -> tuple[str, str]:
    """The conversation meant by a name or an id, and what to call it."""
    conversation = await (client.conversation(to) if is_uuid(to) else client.direct(to))
    return conversation.conversation_id, conversation.title
