"""Linking and deleting an account through the client and its command, on a real server; and what the client does not believe."""

import asyncio
import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from waypost_client import (
    Client,
    DeviceAdded,
    LinkEnded,
    NotALinkCode,
    NotVouched,
    SignedOut,
    WrongFingerprint,
    cli,
    lines,
)
from waypost_client import linking as client_linking
from waypost_client.codes import from_file
from waypost_client.keys import link_statement, sign
from waypost_client.link_commands import picture
from waypost_client.linking import LinkCode, read_code
from waypost_client.values import Bundle, Device, LinkedBy

from tests.cast import any_phone_number
from tests.clients.people import ALICE, Phone
from tests.clients.test_pin import waypost
from tests.messaging.conftest import server  # noqa: F401  (a fixture)

Register = Callable[..., Any]
on_a_server = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@pytest.fixture
def register(server: str, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Register:  # noqa: F811
    """`await register("alice")`: makes a profile of that name a device of a new number; `of`: of another profile's."""
    settings.LIMITS = settings.LIMITS | {
        name: [0] for name in ("OTP_DELAYS", "OTP_PER_NUMBER_DAY", "OTP_PER_IP_HOUR", "OTP_PER_NETWORK_HOUR")
    }
    monkeypatch.setattr(client_linking, "ASK_EVERY", 0.05)

    numbers: dict[str, str] = {}

    async def one(name: str, of: str | None = None) -> Client:
        number = numbers.setdefault(of or name, any_phone_number())
        codes = from_file(Path(django_settings.SMS_URL.removeprefix("file://")), number, patience=10)
        url = server.replace("ws://", "http://")
        client = await Client.register(url, number, codes, state=tmp_path / name, name=name)
        if of is None:
            async with Client.open(client.folder, online=False) as device:
                await device.set_profile(display_name=name, username=name)
        return client

    return one


def quiet(_: str) -> None:
    """Nobody looks."""


@on_a_server
async def test_a_linked_device_talks_and_everybody_knows_who_let_it_in(register: Register, tmp_path: Path) -> None:
    await register("alice")
    await register("bob")
    shown: list[str] = []
    async with Client.open(tmp_path / "alice", online=False) as phone, Client.open(tmp_path / "bob") as bob:
        there = await bob.direct("alice")
        await bob.send(there.conversation_id, "before")
        opened = await phone.linking.open()
        claiming = asyncio.create_task(
            Client.claim(opened.text, state=tmp_path / "laptop", name="laptop", show=shown.append)
        )
        claimant = await phone.linking.claimant(opened.link_id)
        assert (claimant.name, [claimant.fingerprint]) == ("laptop", shown)
        with pytest.raises(WrongFingerprint):
            await phone.linking.approve(opened.link_id, fingerprint=bob.own_fingerprint)
        device_id = await phone.linking.approve(opened.link_id, fingerprint=shown[0].upper())
        async with await claiming as laptop:
            assert (laptop.user_id, laptop.device_id) == (phone.user_id, device_id)
            assert laptop.fingerprints(phone.user_id) == {}, "pinned, and not written to before it is met"
            await bob.send(there.conversation_id, "to both")
            assert (await anext(laptop.messages())).text == "to both"
            [added] = [event async for event in until_caught_up(bob) if isinstance(event, DeviceAdded)]
            assert (added.device_id, added.vouched, added.fingerprint) == (device_id, True, shown[0])
        [first, second] = await phone.devices()
        assert second.linked_by is not None
        assert (second.device_id, second.linked_by.device_id) == (device_id, first.device_id)
        await phone.unlink_device(device_id)
        async with Client.open(tmp_path / "laptop", online=False) as gone:
            with pytest.raises(SignedOut):
                await gone.profile()


async def until_caught_up(client: Client) -> Any:
    """What is told until now."""
    events = client.events()
    while True:
        try:
            yield await asyncio.wait_for(anext(events), 0.5)
        except TimeoutError:
            return


@on_a_server
async def test_at_the_first_contact_devices_that_nobody_vouches_for_are_told_of(
    register: Register, tmp_path: Path
) -> None:
    for name, of in (("alice", None), ("second", "alice"), ("third", "alice"), ("bob", None)):
        await register(name, of)
    async with Client.open(tmp_path / "second", online=False) as second, Client.open(tmp_path / "bob") as bob:
        await bob.send((await bob.direct("alice")).conversation_id, "hello")
        told = [event async for event in until_caught_up(bob) if isinstance(event, DeviceAdded)]
        # The first key is believed, the primary's too; of what stands between them nobody knows anything.
        assert [(event.device_id, event.vouched) for event in told] == [(second.device_id, False)]


@on_a_server
async def test_a_rejected_claimant_gets_nothing(register: Register, tmp_path: Path) -> None:
    await register("alice")
    async with Client.open(tmp_path / "alice", online=False) as phone:
        opened = await phone.linking.open()
        claiming = asyncio.create_task(Client.claim(opened.text, state=tmp_path / "x", name="x", show=quiet))
        await phone.linking.claimant(opened.link_id)
        await phone.linking.reject(opened.link_id)
        with pytest.raises(LinkEnded, match="rejected"):
            await claiming
        with pytest.raises(LinkEnded, match="rejected"):
            await phone.linking.claimant(opened.link_id)
        assert len(await phone.devices()) == 1


@on_a_server
async def test_a_code_with_another_key_is_not_believed(register: Register, tmp_path: Path) -> None:
    """The server links, but the key in the code is not that of the device that signed: somebody lies."""
    await register("alice")
    await register("mallory")
    async with Client.open(tmp_path / "alice", online=False) as phone, Client.open(tmp_path / "mallory") as mallory:
        opened = await phone.linking.open()
        code = json.loads(opened.text)
        other = json.loads((await mallory.linking.open()).text)["identity_key"]
        lied = json.dumps(code | {"identity_key": other})
        claiming = asyncio.create_task(Client.claim(lied, state=tmp_path / "x", name="x", show=quiet))
        claimant = await phone.linking.claimant(opened.link_id)
        await phone.linking.approve(opened.link_id, fingerprint=claimant.fingerprint)
        with pytest.raises(NotVouched):
            await claiming


@on_a_server
async def test_the_commands_link_and_end_an_account(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await register("alice")
    of_phone, of_laptop = ("--state", str(tmp_path / "alice")), ("--state", str(tmp_path / "laptop"))
    assert await waypost("link", "--text", "--json", *of_phone, monkeypatch=monkeypatch) == 0
    opened = json.loads(capsys.readouterr().out)
    claiming = asyncio.create_task(waypost("claim", opened["text"], *of_laptop, monkeypatch=monkeypatch))
    async with Client.open(tmp_path / "alice", online=False) as phone:
        seen = (await phone.linking.claimant(opened["link_id"])).fingerprint
    approving = ("approve", opened["link_id"], "--fingerprint", seen, *of_phone)
    assert await waypost(*approving, monkeypatch=monkeypatch) == 0
    assert await claiming == 0
    assert f"This device's fingerprint: {seen}" in capsys.readouterr().out
    assert await waypost("devices", *of_laptop, monkeypatch=monkeypatch) == 0
    [first, second] = capsys.readouterr().out.splitlines()
    assert "this device, let in by" in second
    assert "primary" in first
    assert await waypost("delete-account", "--yes", *of_laptop, monkeypatch=monkeypatch) == 0
    assert "Your account was deleted" in capsys.readouterr().out
    assert await waypost("profile", *of_phone, monkeypatch=monkeypatch) == 3


@on_a_server
@pytest.mark.parametrize(("typed", "ends"), [(b"y\n", "Approved: device"), (b"n\n", "Rejected."), (b"", "Rejected.")])
async def test_link_shows_a_code_and_asks_about_the_fingerprint(
    register: Register,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: bytes,
    ends: str,
) -> None:
    await register("alice")
    reading, writing = os.pipe()
    os.write(writing, typed)
    os.close(writing)
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
    with os.fdopen(reading) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        linking = asyncio.create_task(asyncio.to_thread(cli.main, ("link", "--state", str(tmp_path / "alice"))))
        out = ""
        while "link_token" not in out:
            await asyncio.sleep(0.02)
            out += capsys.readouterr().out
        claiming = Client.claim(out.splitlines()[-1], state=tmp_path / "x", name="x", show=quiet)
        if ends == "Rejected.":
            with pytest.raises(LinkEnded):
                await claiming
        else:
            await claiming
        assert await linking == 0
    assert capsys.readouterr().out.startswith(ends)


@pytest.mark.parametrize("text", ["", "hello", "{}", '{"v":1}', "https://example.org"])
def test_other_codes_are_none(text: str) -> None:
    with pytest.raises(NotALinkCode):
        read_code(text)


def test_a_code_of_a_later_version_is_none() -> None:
    code = {"v": 2, "server": "http://x", "link_token": "t", "user_id": ALICE, "identity_key": "AA=="}
    assert read_code(json.dumps(code | {"v": 1})) == LinkCode(**code | {"v": 1, "identity_key": b"\x00"})  # type: ignore[arg-type]
    with pytest.raises(NotALinkCode):
        read_code(json.dumps(code))


def test_a_code_is_drawn_as_squares_with_its_text_below() -> None:
    drawn = picture("x" * 300).splitlines()
    assert drawn[-1] == "x" * 300
    assert {len(line) for line in drawn[:-1]} == {len(drawn[0])}
    assert set("".join(drawn[:-1])) == set(" ▀▄█")


def bundle_of(phone: Phone, device_uuid: str, linked_by: LinkedBy | None) -> Bundle:
    return Bundle(
        device_id=phone.device_id,
        registration_id=1,
        identity_key=phone.keyring.identity_key,
        signed_prekey=phone.keyring.signed_prekey(),
        device_uuid=device_uuid,
        linked_by=linked_by,
    )


def test_a_device_vouches_by_its_own_signature_for_that_key_and_nothing_else(alice: Phone, bob: Phone) -> None:
    """Bob knows Alice's phone; `bob` stands in for her laptop's keys, too."""
    uuid = "5d1d3c58-0000-4000-8000-000000000001"
    laptop = Phone(bob.folder / "laptop", ALICE, "1009")
    good = sign_for(alice, laptop, uuid)
    known = LinkedBy(device_id=alice.device_id, identity_key=alice.keyring.identity_key, signature=good)
    bob.peers.pin(alice.device_id, ALICE, alice.keyring.identity_key)
    assert bob.peers.vouched(ALICE, bundle_of(laptop, uuid, known))
    assert not bob.peers.vouched(ALICE, bundle_of(laptop, uuid, None))
    assert not bob.peers.vouched(ALICE, bundle_of(laptop, "5d1d3c58-0000-4000-8000-000000000002", known))
    assert not bob.peers.vouched(ALICE, bundle_of(bob, uuid, known))
    stranger = LinkedBy(device_id="1010", identity_key=alice.keyring.identity_key, signature=good)
    assert not bob.peers.vouched(ALICE, bundle_of(laptop, uuid, stranger))
    itself = sign_for(laptop, laptop, uuid)
    swapped = LinkedBy(device_id=alice.device_id, identity_key=laptop.keyring.identity_key, signature=itself)
    assert not bob.peers.vouched(ALICE, bundle_of(laptop, uuid, swapped))
    assert alice.peers.vouched(ALICE, bundle_of(laptop, uuid, known)), "who signed knows itself"
    laptop.state.close()


def sign_for(approver: Phone, new: Phone, device_uuid: str) -> bytes:
    return sign(approver.keyring.identity, link_statement(ALICE, new.keyring.identity_key, device_uuid))


def test_the_list_of_devices_says_when_each_was_seen_and_who_let_it_in() -> None:
    link = LinkedBy(device_id="1001", identity_key=base64.b64decode("BQ=="), signature=b"")
    laptop = Device(
        device_id="1002", name="laptop", platform="desktop", linked_by=link, last_seen_at="2025-11-21T00:00:00.000Z"
    )
    assert lines.device(laptop) == "1002  laptop  desktop  let in by 1001, seen 2025-11-21"
