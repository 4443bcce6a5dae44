"""`waypost profile`, `settings`, `friends`, `block` and `presence`."""

from typing import Any

import msgspec

from . import lines
from .client import Client
from .console import Options, command, folder, say
from .events import Person, Presence
from .people import Relationship, Setting


def add(commands: Any) -> None:
    """The commands, beside the others."""
    profile = command(commands, "profile", _profile, "show or change how others see you")
    profile.add_argument("--display-name")
    profile.add_argument("--username")
    profile.add_argument("--bio")
    settings = command(commands, "settings", _settings, "show a setting of your account, or change it")
    settings.add_argument("key", help="read_receipts, typing_indicators, presence, phone_discovery, theme or any other")
    settings.add_argument("value", nargs="?", help="JSON, or a word; null puts the default back")
    friends = command(commands, "friends", _friends, "list friends and requests; ask somebody, or accept")
    friends.add_argument("user", nargs="?", help="whom to ask, or whose request to accept")
    friends.add_argument("--end", action="store_true", help="unfriend, withdraw or decline instead")
    block = command(commands, "block", _block, "list whom you block; block somebody")
    block.add_argument("user", nargs="?", help="a user name or id")
    block.add_argument("--end", action="store_true", help="unblock instead")
    presence = command(
        commands, "presence", _presence, "print who is there, of people in common conversations", stops_quietly=True
    )
    presence.add_argument("users", nargs="+", help="user names or ids")
    presence.add_argument("--watch", type=int, default=0, metavar="N", help="go on until N changes were printed")


async def _profile(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        changes = {"display_name": options.display_name, "username": options.username, "bio": options.bio}
        wanted = {name: value for name, value in changes.items() if value is not None}
        person = await (client.set_profile(**wanted) if wanted else client.profile())
        say(options, lines.user(person), person)


async def _settings(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        if options.value is None:
            setting = await client.people.setting(options.key)
        else:
            setting = await client.people.set(options.key, value_of(options.value))
        say(options, describe_setting(setting), setting)


def value_of(text: str) -> Any:
    """The JSON value, or the word itself where it is none."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def describe_setting(setting: Setting) -> str:
    default = "" if setting.updated_at else " (default)"
    return f"{setting.key} = {msgspec.json.encode(setting.value).decode()}{default}"


async def _friends(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        if options.user is None:
            for state in ("friends", "incoming", "requested"):
                await _list(options, client, state)
        elif options.end:
            await _end(options, client)
        else:
            await _show(options, client, await client.people.befriend(options.user))


async def _block(options: Options) -> None:
    async with Client.open(folder(options), online=False) as client:
        if options.user is None:
            await _list(options, client, "blocked")
        elif options.end:
            await _end(options, client)
        else:
            await _show(options, client, await client.people.block(options.user))


async def _list(options: Options, client: Client, state: str) -> None:
    for relationship in await client.people.relationships(state):
        await _show(options, client, relationship)


async def _end(options: Options, client: Client) -> None:
    await client.people.end(options.user)
    say(options, f"Ended with {options.user}.", {"ended": options.user})


async def _show(options: Options, client: Client, relationship: Relationship) -> None:
    person = await client.people.user(relationship.user_id)
    say(options, f"{relationship.state}: {person.name}", relationship)


async def _presence(options: Options) -> None:
    async with Client.open(folder(options)) as client:
        names = {await client.user_id_of(user): user for user in options.users}
        await client.connected()
        for person in await client.watch(names):
            say(options, describe_presence(person, names), person)
        left = options.watch
        events = client.events()
        while left > 0:
            event = await anext(events)
            for person in event.users if isinstance(event, Presence) else ():
                say(options, describe_presence(person, names), person)
                left -= 1


def describe_presence(person: Person, names: dict[str, str]) -> str:
    name = names.get(person.user_id, person.user_id)
    if person.online:
        return f"{name} is there."
    if person.last_seen_at is None:
        return f"{name} is not there."
    return f"{name} was there until {person.last_seen_at:%Y-%m-%d %H:%M} UTC."
