"""Who hears that somebody types."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.cast import Installation
from tests.messaging.conftest import Connect
from tests.sockets import DeviceSocket, message
from tests.stances import blocks, group, leaves, sets

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "messages"])


@pytest.fixture
def patient(settings: Any) -> None:
    """A bucket that does not fill again meanwhile. Name it before `connect`: a server reads its limits when it starts."""
    settings.LIMITS = settings.LIMITS | {"TYPING_EVERY_SECONDS": [3600]}


def typing(conversation: UUID | str, *, active: bool = True) -> dict[str, Any]:
    return {"type": "typing", "conversation_id": str(conversation), "active": active}


async def heard(socket: DeviceSocket, conversation: UUID, *, says: DeviceSocket, hears: bool) -> None:
    """A message that is sent behind it comes; what was typed came before it, or not at all."""
    await says.say(typing(conversation))
    if hears:
        await socket.expect("typing", conversation_id=str(conversation))
    else:
        await socket.nothing("typing", seconds=0.5)


async def test_the_others_hear_it_and_nobody_else(
    connect: Connect,
    alice_and_bob: UUID,
    alice_phone: Installation,
    alice_laptop: Installation,
    bob_phone: Installation,
    mallory: Installation,
) -> None:
    async with (
        connect(alice_phone) as alice,
        connect(alice_laptop) as laptop,
        connect(bob_phone, subprotocol="waypost.v1.msgpack") as bob,
        connect(mallory) as eve,
    ):
        for active in (True, False):
            await alice.say(typing(alice_and_bob, active=active))
            assert await bob.expect("typing") == {
                "type": "typing",
                "conversation_id": str(alice_and_bob),
                "user_id": alice_phone.user_id,
                "active": active,
            }
        refusals = [await eve.ask(typing(conversation)) for conversation in (alice_and_bob, uuid4())]
        assert {(refusal["error_code"], refusal["error"]) for refusal in refusals} == {
            ("NOT_FOUND", refusals[0]["error"])
        }
        assert (await alice.ask({"type": "typing", "conversation_id": str(alice_and_bob)}))[
            "error_code"
        ] == "INVALID_REQUEST"
        for silent in (laptop, bob, eve):
            await silent.nothing("typing", seconds=0.2)


async def test_more_than_a_few_are_dropped(
    patient: None, connect: Connect, alice_and_bob: UUID, alice_phone: Installation, bob_phone: Installation
) -> None:
    async with connect(alice_phone) as alice, connect(bob_phone) as bob:
        for _ in range(9):
            await alice.say(typing(alice_and_bob))
        for _ in range(5):
            await bob.expect("typing")
        await bob.nothing("typing", seconds=0.5)
        assert [frame for frame in alice.unread if frame["type"] == "error"] == []
        sent = await alice.ask(message(alice_and_bob, [bob_phone]))
        assert sent["type"] == "sent"


async def test_settings_blocks_and_leaving_count_at_once(
    connect: Connect, alice_phone: Installation, bob_phone: Installation, mallory: Installation
) -> None:
    everybody = await group(alice_phone, bob_phone, mallory)
    async with connect(alice_phone) as alice, connect(bob_phone) as bob, connect(mallory) as eve:
        await heard(bob, everybody, says=alice, hears=True)
        await eve.expect("typing")
        await sets(bob_phone, "typing_indicators", value=False)
        await heard(bob, everybody, says=alice, hears=False)
        await eve.expect("typing")
        await heard(alice, everybody, says=bob, hears=False)
        await sets(bob_phone, "typing_indicators", value=None)
        await blocks(alice_phone, mallory)
        await heard(alice, everybody, says=eve, hears=False)
        await bob.expect("typing", user_id=mallory.user_id)
        await leaves(mallory, everybody)
        assert (await eve.ask(typing(everybody)))["error_code"] == "NOT_FOUND"
        await heard(bob, everybody, says=alice, hears=True)
        await eve.nothing("typing", seconds=0.2)
