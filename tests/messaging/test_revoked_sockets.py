"""Sockets whose device may not be connected any more, when nobody tells them, and when somebody says so who may not."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from accounts.wire.refusals import StorageUnavailable
from devices import unlinking
from messaging import consumers, hints, receivers, sessions
from messaging.envelopes import Close
from messaging.sessions import Session, Standing
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


async def test_a_socket_of_an_installation_that_is_replaced_while_it_opens_does_not_become_the_new_ones(
    connect: Connect, alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token was good a moment ago. What it acknowledged would be lost for the new one."""
    open_session = sessions.open_session

    async def after_it_is_replaced(*arguments: Any) -> Any:
        monkeypatch.setattr(sessions, "open_session", open_session)
        await sync_to_async(install_again)(alice_phone)
        return await open_session(*arguments)

    monkeypatch.setattr(sessions, "open_session", after_it_is_replaced)
    async with connect(alice_phone, ready=False) as alice:
        assert await alice.closed() == 4401
        assert not [frame for frame in alice.unread if frame["type"] == "ready"]


async def test_a_revoked_socket_closes_also_when_nobody_can_say_who_else_is_to_be_told(
    connect: Connect, alice_phone: Installation, alice_laptop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL has died just after the commit."""

    def unknown(_: UUID) -> list[UUID]:
        raise OperationalError

    monkeypatch.setattr(receivers, "peers", unknown)
    async with connect(alice_phone) as phone, connect(alice_laptop) as laptop:
        await sync_to_async(unlinking.revoke_device)(int(alice_phone.device_id))
        assert await phone.closed() == 4401
        assert (await laptop.ask({"type": "ping"}))["type"] == "pong"


async def test_who_could_not_be_looked_up_is_looked_up_again_soon(
    connect: Connect, silence: None, alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL was away at the moment of the check, and the hint was lost with it."""
    standing = sessions.standing
    monkeypatch.setattr(consumers, "CHECK_AGAIN_SECONDS", 0.1)

    async def away_once(session: Session) -> Standing:
        monkeypatch.setattr(consumers, "CHECK_SECONDS", 60.0)
        monkeypatch.setattr(sessions, "standing", standing)
        raise StorageUnavailable

    monkeypatch.setattr(sessions, "standing", away_once)
    async with connect(alice_phone) as alice:
        await sync_to_async(log_out)(alice_phone)
        assert await alice.closed() == 4401
