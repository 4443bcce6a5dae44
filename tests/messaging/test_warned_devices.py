"""What a person's devices are told when somebody else tries to be that person; and that an open socket is use of the account."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from messaging import consumers
from tests.cast import Installation
from tests.messaging.conftest import Connect

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


def lock(phone: Installation) -> None:
    assert phone.http.put("auth/pin", {"pin": "2580", "registration_lock": True}).status == 200


def try_to_register(phone: Installation) -> None:
    thief = phone.beside("Mallory's phone")
    body = {"registration_token": thief.prove_number(), "device": thief.device_input(), "pin": "0000"}
    assert thief.http.post("auth/register-device", body).status == 423


def lose_a_refresh_token(phone: Installation) -> None:
    """A thief uses it after its owner did, and the renewed one."""
    renewed = phone.http.post("auth/refresh", {"refresh_token": phone.refresh_token}).body
    assert phone.http.post("auth/refresh", {"refresh_token": renewed["refresh_token"]}).status == 200
    assert phone.http.post("auth/refresh", {"refresh_token": phone.refresh_token}).status == 401


async def test_a_registration_that_the_lock_stopped_is_told_to_all_devices_of_the_person_and_closes_none(
    connect: Connect, alice_phone: Installation, alice_laptop: Installation, bob_phone: Installation
) -> None:
    await sync_to_async(lock)(alice_laptop)
    async with connect(alice_phone) as phone, connect(alice_laptop) as laptop, connect(bob_phone) as bob:
        await sync_to_async(try_to_register)(alice_phone)
        for socket in (phone, laptop):
            warning = await socket.expect("devices_changed", reason="registration_attempt")
            assert warning == {
                "type": "devices_changed",
                "user_id": alice_phone.user_id,
                "reason": "registration_attempt",
            }
            assert (await socket.ask({"type": "ping"}))["type"] == "pong"
        await bob.nothing("devices_changed")


async def test_a_token_in_two_hands_closes_its_devices_socket_and_is_told_to_the_others(
    connect: Connect, alice_phone: Installation, alice_laptop: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as phone, connect(alice_laptop) as laptop, connect(bob_phone) as bob:
        await sync_to_async(lose_a_refresh_token)(alice_phone)
        assert await phone.closed() == 4401
        told = await laptop.expect("devices_changed", reason="token_reuse")
        assert told["device_id"] == alice_phone.device_id
        await bob.nothing("devices_changed")


async def test_an_account_is_in_use_as_long_as_a_socket_is_open(
    connect: Connect, alice_phone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.2)

    @sync_to_async
    def let_six_days_pass() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts_user SET last_used_at = last_used_at - interval '6 days'")
            cursor.execute("UPDATE devices_device SET last_seen = last_seen - 6")

    def uses() -> list[bool]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT last_used_at > now() - interval '1 hour', last_seen > now() - interval '2 days'"
                " FROM accounts_user u JOIN devices_device d ON d.user_id = u.id"
            )
            return list(cursor.fetchone())

    async with connect(alice_phone):
        await let_six_days_pass()
        async with asyncio.timeout(10):
            while not all(await sync_to_async(uses)()):  # noqa: ASYNC110  (whatever it asks has no event)
                await asyncio.sleep(0.05)
