"""`waypost push`: a device says where it is woken, and is."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from waypost_client import Client, Refused, cli
from waypost_client.codes import from_file

from tests.cast import any_phone_number
from tests.messaging.conftest import server  # noqa: F401  (a fixture)
from tests.messaging.push.conftest import quickly, service  # noqa: F401  (fixtures)
from tests.push_service import PushService, Subscription
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


async def waypost(folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command as a program would: in a thread with a loop of its own."""
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
    return await asyncio.to_thread(cli.main, ["push", *arguments, "--state", str(folder), "--json"])


async def registered(server: str, folder: Path) -> Client:  # noqa: F811
    number = any_phone_number()
    codes = from_file(Path(django_settings.SMS_URL.removeprefix("file://")), number, patience=10)
    return await Client.register(server.replace("ws://", "http://"), number, codes, state=folder, name=folder.name)


async def test_a_subscribed_device_is_woken(
    service: PushService,  # noqa: F811
    server: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: Any,
) -> None:
    settings.WEBPUSH_PUBLIC_KEY = "a public key"
    alice, bob = await registered(server, tmp_path / "alice"), await registered(server, tmp_path / "bob")
    subscription = Subscription()
    keys = [f"--{name}={value}" for name, value in subscription.keys.items()]
    endpoint = f"--endpoint={service.endpoint('bob')}"
    assert await waypost(bob.folder, "webpush", endpoint, *keys, monkeypatch=monkeypatch) == 0
    assert await waypost(bob.folder, "status", monkeypatch=monkeypatch) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said == [{"provider": "webpush"}, {"push_enabled": True, "webpush_public_key": "a public key"}]
    async with Client.open(bob.folder, online=False) as client:
        bob_id = client.user_id
    async with Client.open(alice.folder) as client:
        conversation = await client.direct(bob_id)
        await client.send(conversation.conversation_id, "hello")
        await until(lambda: bool(service.pushed))
    assert json.loads(subscription.read(service.pushed[0])) == {"wake": True}


async def test_tokens_are_taken_and_given_back_and_a_bad_endpoint_is_told(
    server: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bob = await registered(server, tmp_path / "bob")
    for arguments in (["fcm", "--token", "a:b"], ["apns", "--token", "c0ffee"], ["none"]):
        assert await waypost(bob.folder, *arguments, monkeypatch=monkeypatch) == 0
    said = [json.loads(line)["provider"] for line in capsys.readouterr().out.splitlines()]
    assert said == ["fcm", "apns", "none"]
    async with Client.open(bob.folder, online=False) as client:
        with pytest.raises(Refused) as refused:
            await client.push.by_web_push("https://127.0.0.1/", **Subscription().keys)
    assert refused.value.facts["field"] == "endpoint"
