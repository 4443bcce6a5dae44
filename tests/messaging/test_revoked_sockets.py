"""Sockets whose device may not be connected any more, when nobody tells them, and when somebody says so who may not."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from devices import unlinking
from messaging import consumers, hints
from messaging.envelopes import Close
from tests.cast import Installation
from tests.messaging.conftest import Connect

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hint closes a socket: Redis is gone, or the process that should have published one."""
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(hints, "close", lambda device_id, close: None)


def log_out(phone: Installation) -> None:
    assert phone.http.post("auth/logout").status == 204


def block(phone: Installation) -> None:
    unlinking.block_user(UUID(phone.user_id))


def sign_in_again(phone: Installation) -> None:
    Installation.register(phone)


def install_again(phone: Installation) -> None:
    phone.reinstalled().register()


def lose_a_refresh_token(phone: Installation) -> None:
    """A thief has the refresh token, and uses it after the owner did."""
    stolen = phone.refresh_token
    renewed = phone.with_tokens(phone.http.post("auth/refresh", {"refresh_token": stolen}).body)
    assert renewed.http.get("profile").status == 200
    assert phone.http.post("auth/refresh", {"refresh_token": stolen}).status == 401


@pytest.mark.parametrize("revoke", [log_out, block, sign_in_again, install_again, lose_a_refresh_token])
async def test_a_revoked_devices_socket_ends_also_when_nobody_tells_it(
    connect: Connect, silence: None, alice_phone: Installation, revoke: Callable[[Installation], None]
) -> None:
    async with connect(alice_phone) as alice:
        await sync_to_async(revoke)(alice_phone)
        assert await alice.closed() == 4401


async def test_renewed_tokens_end_no_socket(connect: Connect, silence: None, alice_phone: Installation) -> None:
    async with connect(alice_phone) as alice:
        answer = await sync_to_async(alice_phone.http.post)(
            "auth/refresh", {"refresh_token": alice_phone.refresh_token}
        )
        renewed = alice_phone.with_tokens(answer.body)
        assert (await sync_to_async(renewed.http.get)("profile")).status == 200
        await asyncio.sleep(0.5)
        assert (await alice.ask({"type": "ping"}))["type"] == "pong"


async def test_a_revocation_that_is_published_again_ends_no_later_socket(
    connect: Connect, alice_phone: Installation
) -> None:
    async with connect(alice_phone) as alice:
        hints.close(int(alice_phone.device_id), Close(4401))
        await asyncio.sleep(0.3)
        assert (await alice.ask({"type": "ping"}))["type"] == "pong"
