"""Token pairs that have expired, and links nobody asks for any more."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from accounts import chores
from devices.models import Device, Link, TokenPair
from devices.pruning import LINKS, TOKENS
from messaging import sessions
from tests.cast import Http, Installation
from tests.linking import Linking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("hot_road")]


async def free() -> None:
    """Nobody minds."""


def expire(device: Installation) -> None:
    pairs = TokenPair.objects.filter(device_id=device.device_id)
    pairs.update(refresh_expires_at=timezone.now() - timedelta(seconds=1))


def pairs_of(device: Installation) -> list[TokenPair]:
    return list(TokenPair.objects.filter(device_id=device.device_id).order_by("created_at"))


@sync_to_async
def refreshed(device: Installation, *, times: int) -> list[TokenPair]:
    token = device.refresh_token
    for _ in range(times):
        token = Http().post("auth/refresh", {"refresh_token": token}).body["refresh_token"]
    return pairs_of(device)


async def test_expired_pairs_go_and_the_newest_of_each_device_stays(
    alice_phone: Installation, bob_phone: Installation
) -> None:
    made = await refreshed(alice_phone, times=4)
    bobs = await refreshed(bob_phone, times=2)
    await sync_to_async(expire)(alice_phone)
    assert await chores.do(TOKENS, free) == 4
    assert await sync_to_async(pairs_of)(alice_phone) == made[-1:]
    assert await sync_to_async(pairs_of)(bob_phone) == bobs


async def test_a_socket_of_a_device_whose_tokens_have_all_expired_stays_open(alice_phone: Installation) -> None:
    await refreshed(alice_phone, times=1)
    device = await Device.objects.aget(pk=alice_phone.device_id)
    session = await sessions.open_session(device.user_id, device.pk, device.device_number, device.registration_id)
    await sync_to_async(expire)(alice_phone)
    await chores.do(TOKENS, free)
    assert (await sessions.standing(session)).closing_code is None


async def test_a_replaced_pair_that_has_not_expired_still_betrays_a_theft(alice_phone: Installation) -> None:
    await refreshed(alice_phone, times=2)
    assert await chores.do(TOKENS, free) == 0
    stolen = {"refresh_token": alice_phone.refresh_token}
    assert (await sync_to_async(Http().post)("auth/refresh", stolen)).status == 401
    assert await sync_to_async(pairs_of)(alice_phone) == []


async def test_a_link_is_forgotten_a_day_after_it_was_opened_unless_a_device_hangs_on_it(
    alice_phone: Installation,
) -> None:
    links = await sync_to_async(lambda: [Linking(alice_phone, alice_phone.beside()).claimed() for _ in range(3)])()
    await sync_to_async(links[1].approve)()
    old = Link.objects.filter(pk__in=[link.link_id for link in links[:2]])
    await old.aupdate(created_at=timezone.now() - timedelta(hours=24))
    assert await chores.do(LINKS, free) == 1
    assert {str(link.pk) async for link in Link.objects.all()} == {link.link_id for link in links[1:]}
