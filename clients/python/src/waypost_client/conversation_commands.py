"""The commands `conversations`, `group`, `add`, `remove` and `leave`."""

from typing import Any

from . import lines
from .client import Client
from .console import Options, command, folder, say


def add(commands: Any) -> None:
    """Add them to the others."""
    command(commands, "conversations", _conversations, "list your conversations")
    group = command(commands, "group", _group, "make a group")
    group.add_argument("title")
    group.add_argument("members", nargs="*")
    adding = command(commands, "add", _add, "add members to a group")
    adding.add_argument("conversation")
    adding.add_argument("members", nargs="+")
    remove = command(commands, "remove", _remove, "remove a member from a group")
    remove.add_argument("conversation")
    remove.add_argument("member")
    leave = command(commands, "leave", _leave, "leave a group")
    leave.add_argument("conversation")
    leave.add_argument("--successor", help="who becomes admin, if you are the last one")


async def _conversations(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        for conversation in await client.conversations():
            say(options, lines.conversation(conversation), conversation)


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
