"""Settings, friends, blocks and presence through the client and its command, on a real server."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from waypost_client import Client, Refused, cli
from waypost_client.codes import from_file
from waypost_client.events import CallSignal, Person, Presence, Typing
from waypost_client.people_commands import describe_presence, value_of

from tests.cast import any_phone_number
from tests.messaging.conftest import server  # noqa: F401  (a fixture)

Register = Callable[[str], Any]


@pytest.fixture
def register(server: str, tmp_path: Path) -> Register:  # noqa: F811
    """`await register("alice")`: a person of that name with a profile of that name."""

    async def one(name: str) -> Client:
        number = any_phone_number()
        codes = from_file(Path(django_settings.SMS_URL.removeprefix("file://")), number, patience=10)
        url = server.replace("ws://", "http://")
        client = await Client.register(url, number, codes, state=tmp_path / name, name=name)
        async with Client.open(client.folder, online=False) as device:
            await device.set_profile(username=name)
        return client

    return one


async def next_of(client: Client, kind: type) -> Any:
    async for event in client.events():
        if isinstance(event, kind):
            return event
    raise AssertionError("the client was closed")


@pytest.mark.django_db(transaction=True, databases=["default", "messages"])
async def test_what_alice_and_bob_are_to_each_other(
    register: Register, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
    alices, bobs = (await register("alice")).folder, (await register("bob")).folder

    async def waypost(*arguments: str, by: Path = alices) -> str:
        assert await asyncio.to_thread(cli.main, [*arguments, "--state", str(by)]) == 0
        return capsys.readouterr().out

    assert await waypost("settings", "theme") == 'theme = "system" (default)\n'
    assert await waypost("settings", "theme", "dark") == 'theme = "dark"\n'
    assert await waypost("friends", "bob") == "requested: bob\n"
    assert await waypost("friends", by=bobs) == "incoming: alice\n"
    assert await waypost("friends", "alice", by=bobs) == "friends: alice\n"

    async with Client.open(alices) as alice, Client.open(bobs) as bob:
        conversation = (await alice.direct("bob")).conversation_id
        await bob.connected()
        await asyncio.wait_for(_until_there(alice, bob), 20)
        await bob.say_typing(conversation)
        assert (await next_of(alice, Typing)).user_id == bob.user_id
        await bob.signal_call(conversation, "offer", b"\x00\xff")
        offered = await next_of(alice, CallSignal)
        assert (offered.sender_device_id, offered.body) == (bob.device_id, b"\x00\xff")
        assert not (await alice.people.notifications(push_previews=False)).push_previews
        assert (await alice.people.setting("push_previews")).value is False

    assert await waypost("block", "bob") == "blocked: bob\n"
    assert await waypost("friends", by=bobs) == ""
    async with Client.open(bobs, online=False) as bob:
        with pytest.raises(Refused) as refused:
            await bob.send(conversation, "hello?", within=20)
        assert refused.value.code == "FORBIDDEN"
    assert await waypost("block", "bob", "--end") == "Ended with bob.\n"
    assert await waypost("block") == ""


async def _until_there(alice: Client, bob: Client) -> None:
    """Bob is seen at once, or comes."""
    [person] = await alice.watch([bob.user_id])
    while not person.online:
        [person] = (await next_of(alice, Presence)).users
    assert person.user_id == bob.user_id


def test_words_and_json_are_values() -> None:
    assert [value_of(text) for text in ("false", "dark", '"dark"', "null", "7", '{"a": [1]}', "en-US")] == [
        False,
        "dark",
        "dark",
        None,
        7,
        {"a": [1]},
        "en-US",
    ]


def test_presence_is_a_sentence() -> None:
    assert describe_presence(Person(user_id="1", online=True), {"1": "bob"}) == "bob is there."
    assert describe_presence(Person(user_id="1", online=False), {}) == "1 is not there."
