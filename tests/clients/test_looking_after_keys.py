"""A client at a running server keeps its stock of prekeys up, renews what stays, and notices what the server has lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from waypost_client import cli
from waypost_client.client import Client
from waypost_client.codes import from_file
from waypost_client.errors import Refused

from devices import eras
from devices.models import Device, OneTimePrekey, SignedPrekey
from tests.cast import Installation, JsonObject, any_phone_number

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@pytest.fixture
async def bob(server: str, tmp_path: Path) -> Client:
    """Bob's phone, registered, not connected."""
    url, sms = server.replace("ws://", "http://"), Path(settings.SMS_URL.removeprefix("file://"))
    async with asyncio.timeout(60):
        while True:
            phone = any_phone_number()
            codes = from_file(sms, phone)
            try:
                return await Client.register(url, phone, codes, state=tmp_path / phone, name="Bob's phone")
            except Refused as refusal:
                # On a busy machine Redis may take longer than anybody waits for it.
                if refusal.code != "STORAGE_UNAVAILABLE":
                    raise


@pytest.fixture
async def era() -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Begins the next era, as a promotion does."""

    def add(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts_era SET added = %s", [number])

    yield lambda: sync_to_async(add)(1)
    await sync_to_async(add)(0)
    await sync_to_async(lambda: connection.cursor().execute("UPDATE devices_era SET entered = %s", [eras.present()]))()


async def bundle_of(bob: Client) -> JsonObject:
    """What somebody gets who wants to write to him."""

    path = f"keys/{bob.user_id}/{bob.device_id}"

    def fetch() -> JsonObject:
        answer = Installation().register().http.get(path)
        found: JsonObject = answer.body["devices"][0]
        return found

    return await sync_to_async(fetch)()


async def until(left: int, bob: Client) -> None:
    """Wait for so many one-time prekeys at the server."""
    async with asyncio.timeout(60):
        while (await bob.prekeys_left()).count < left:  # noqa: ASYNC110  (the server has no event for it)
            await asyncio.sleep(0.05)


async def test_whoever_is_told_that_few_are_left_uploads_others(bob: Client) -> None:
    async with Client.open(bob.folder) as phone:
        await phone.connected()
        await OneTimePrekey.objects.filter(key_id__gt=10).adelete()
        assert (await phone.prekeys_left()).count < 20
        assert (await bundle_of(phone))["one_time_prekey"]
        await until(100, phone)


@pytest.mark.parametrize("highest", [50_000, 2**23, 2**24 - 2**16, 2**24 - 1])
async def test_a_client_whose_numbers_somebody_else_has_passed_comes_behind_them(bob: Client, highest: int) -> None:
    """Mallory had Bob's access token, and uploaded keys with numbers that Bob's phone has yet to come to."""
    await OneTimePrekey.objects.all().adelete()
    await Device.objects.aupdate(highest_prekey_id=highest)
    async with Client.open(bob.folder) as phone:
        await until(100, phone)


async def test_a_client_that_comes_back_in_another_era_is_heard_with_its_second_upload(
    bob: Client, era: Callable[[], Awaitable[None]]
) -> None:
    before = await sync_to_async(lambda: set(OneTimePrekey.objects.values_list("public_key", flat=True)))()
    await era()
    async with Client.open(bob.folder) as phone:
        assert (await phone.prekeys_left()).count == 0
        await until(100, phone)
    after = await sync_to_async(lambda: set(OneTimePrekey.objects.values_list("public_key", flat=True)))()
    assert not before & after


async def test_new_keys_are_handed_out_at_once(bob: Client) -> None:
    async with Client.open(bob.folder, online=False) as phone:
        assert await phone.check_keys()
        before = await bundle_of(phone)
        await phone.rotate_keys()
        after = await bundle_of(phone)
        assert after["signed_prekey"]["key_id"] > before["signed_prekey"]["key_id"]
        assert await phone.check_keys()


async def test_keys_that_the_server_lost_are_given_to_it_again(bob: Client) -> None:
    async with Client.open(bob.folder, online=False) as phone:
        before = await bundle_of(phone)
        await SignedPrekey.objects.filter(device_id=phone.device_id).adelete()
        assert not await phone.check_keys()
        assert await phone.check_keys()
        assert (await bundle_of(phone))["signed_prekey"] == before["signed_prekey"]


async def test_a_client_that_went_back_itself_gets_a_new_key_in_place_of_the_one_it_has_lost(bob: Client) -> None:
    async with Client.open(bob.folder, online=False) as phone:
        before = await bundle_of(phone)
        await phone.rotate_keys()
        for name in ("next_signed_id", "next_prekey_id"):
            phone._state.remember(**{name: int(phone._state.fact(name)) - 1})
        phone._state.db.execute(
            "DELETE FROM prekeys WHERE slot IN ('signed', 'last_resort') AND created_at = (SELECT max(created_at) FROM prekeys)"
        )
        assert not await phone.check_keys()
        assert await phone.check_keys()
        assert (await bundle_of(phone))["signed_prekey"] != before["signed_prekey"]


async def test_the_command(bob: Client, capsys: pytest.CaptureFixture[str]) -> None:
    async def run(*arguments: str) -> Any:
        options = cli.parser().parse_args(["keys", *arguments, "--state", str(bob.folder)])
        await options.run(options)
        return capsys.readouterr().out.strip()

    assert await run() == "100 one-time prekeys are left at the server."
    assert json.loads(await run("count", "--json")) == {"count": 100, "pq_count": 0}
    assert await run("check") == "The server has your keys."
    assert await run("rotate") == "The server has a new signed prekey and a new last resort."
    await SignedPrekey.objects.filter(kind="signed").aupdate(public_key=b"another")
    assert json.loads(await run("check", "--json")) == {"result": "differs"}
    assert json.loads(await run("check", "--json")) == {"result": "same"}
