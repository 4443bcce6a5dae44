"""Two thousand messages between six devices, in a direct and in a group conversation."""

import asyncio
import random

import pytest

from tests.acceptance.house import House, Resident
from tests.acceptance.talking import Party, Talking
from tests.sockets import message

pytestmark = pytest.mark.installation

DIRECT = 600
GROUP = 1400
RESENT = 200


def test_each_device_gets_each_message_once_in_one_order_and_resending_changes_nothing(house: House) -> None:
    alice, bob, carol = (house.person(name) for name in ("Alice's phone", "Bob's phone", "Carol's phone"))
    devices = [alice, alice.second_device("Alice's laptop"), bob, bob.second_device("Bob's tablet"), carol]
    devices.append(carol.second_device("Carol's laptop"))
    direct, group = alice.direct(bob), alice.group(bob, carol)
    asyncio.run(_talk(house, devices, direct, group))


async def _talk(house: House, devices: list[Resident], direct: str, group: str) -> None:
    pair = devices[:4]
    async with Talking(house, devices) as party:
        await asyncio.gather(*_says(party, pair, direct, DIRECT), *_says(party, devices, group, GROUP))
        direct_party = Party([party.talker(device) for device in pair])
        await direct_party.settled(direct)
        await party.settled(group)
        _check_everybody_saw_the_same(party, group)
        before = {talker.device.device_id: talker.seqs(group) for talker in party.talkers}
        await _resend(party, group)
        await asyncio.sleep(1)
        assert before == {talker.device.device_id: talker.seqs(group) for talker in party.talkers}


def _says(party: Party, devices: list[Resident], conversation_id: str, count: int) -> list["asyncio.Task[None]"]:
    """Every device sends its share, several at once."""
    share = count // len(devices)

    async def say(device: Resident, number: int) -> None:
        to = [other for other in devices if other is not device]
        await party.talker(device).say(conversation_id, to, b"%d of %s" % (number, device.device_id.encode()))

    async def lane(device: Resident, lane_number: int) -> None:
        for number in range(lane_number, share, 5):
            await say(device, number)

    return [asyncio.create_task(lane(device, number)) for device in devices for number in range(5)]


def _check_everybody_saw_the_same(party: Party, conversation_id: str) -> None:
    by_seq: dict[int, set[tuple[str, str]]] = {}
    for talker in party.talkers:
        for envelope in talker.got[conversation_id]:
            by_seq.setdefault(envelope["seq"], set()).add((envelope["message_id"], envelope["client_message_id"]))
        positions = [
            int(envelope["message_id"]) for envelope in sorted(talker.got[conversation_id], key=lambda e: e["seq"])
        ]
        assert positions == sorted(positions)
    assert all(len(seen) == 1 for seen in by_seq.values())


async def _resend(party: Party, conversation_id: str) -> None:
    """The same ids again, even with other contents: the first answer, and nobody hears of it."""
    sent = [
        (talker, client_message_id, answer)
        for talker in party.talkers
        for client_message_id, answer in talker.sent.items()
        if answer["conversation_id"] == conversation_id
    ]
    for talker, client_message_id, first in random.Random(7).sample(sent, RESENT):  # noqa: S311
        again = await talker._try(message(conversation_id, [], b"other", client_message_id=client_message_id))
        assert (again["type"], again["seq"], again["message_id"], again["duplicate"]) == (
            "sent",
            first["seq"],
            first["message_id"],
            True,
        )
