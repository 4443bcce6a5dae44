"""Things die, stand still and come back while people talk: whatever was acknowledged is delivered, without help."""

import asyncio
import statistics
from collections.abc import Callable

import psycopg
import pytest

from tests.acceptance.house import House, Resident, stopped, wait_for
from tests.acceptance.talking import Party, Talker, Talking
from tests.deadlines import promised

pytestmark = pytest.mark.installation


def three_devices(house: House) -> tuple[list[Resident], str]:
    alice, bob = house.person("Alice's phone"), house.person("Bob's phone")
    return [alice, bob, bob.second_device("Bob's tablet")], alice.direct(bob)


async def stream(party: Party, devices: list[Resident], conversation: str, until: asyncio.Event) -> int:
    """Everybody sends, three at a time, until the event is set. How many were acknowledged."""
    count = 0

    async def lane(device: Resident) -> None:
        nonlocal count
        while not until.is_set():
            count += 1
            await party.talker(device).say(conversation, party.others(device), b"message %d" % count)

    await asyncio.gather(*(lane(device) for device in devices for _ in range(3)))
    return count


async def talk_through(
    house: House, devices: list[Resident], conversation: str, fault: Callable[[], None], seconds: float
) -> Party:
    """Talk for a second, let the fault happen in a thread, talk on for `seconds`, and check that everybody has everything."""
    async with Talking(house, devices) as party:
        enough = asyncio.Event()
        talking = asyncio.create_task(stream(party, devices, conversation, enough))
        await asyncio.sleep(1)
        await asyncio.to_thread(fault)
        await asyncio.sleep(seconds)
        enough.set()
        count = await talking
        assert count > 20
        await party.settled(conversation, seconds=60)
        return party


def test_valkey_dies_and_comes_back_empty(house: House) -> None:
    devices, conversation = three_devices(house)

    def fault() -> None:
        [valkey] = house.processes("valkey-server")
        valkey.kill()

    asyncio.run(talk_through(house, devices, conversation, fault, 4))


def test_sockets_open_and_messages_flow_while_valkey_stands_still(postgresql_house: House) -> None:
    house = postgresql_house
    devices, conversation = three_devices(house)

    async def talk() -> None:
        with stopped(house.processes("valkey-server")):
            async with Talking(house, devices) as party:
                for _ in range(5):
                    await party.talkers[0].say(conversation, party.others(devices[0]), b"without hints")
                await party.settled(conversation, seconds=30)
                assert max(talker.slowest for talker in party.talkers) < promised(5)

    asyncio.run(talk())
    wait_for(house.is_ready, 30)


def test_a_worker_is_killed_in_the_middle(house: House) -> None:
    devices, conversation = three_devices(house)
    asyncio.run(talk_through(house, devices, conversation, house.workers()[0].kill, 4))


def test_every_worker_is_killed_in_the_middle(postgresql_house: House) -> None:
    house = postgresql_house
    devices, conversation = three_devices(house)

    def fault() -> None:
        for worker in house.workers():
            worker.kill()

    asyncio.run(talk_through(house, devices, conversation, fault, 4))


def test_postgresql_dies_and_comes_back(postgresql_house: House) -> None:
    house = postgresql_house
    devices, conversation = three_devices(house)

    def fault() -> None:
        min(house.processes("postgres"), key=lambda process: process.create_time()).kill()

    asyncio.run(talk_through(house, devices, conversation, fault, 6))


@pytest.mark.cassandra
def test_cassandra_stands_still_for_half_a_minute(cassandra_house: House) -> None:
    house = cassandra_house
    devices, conversation = three_devices(house)

    async def talk() -> None:
        async with Talking(house, devices) as party:
            alice = party.talker(devices[0])
            await alice.say(conversation, party.others(devices[0]), b"before")
            with stopped(house.stores_of_messages()):
                began = asyncio.get_running_loop().time()
                while asyncio.get_running_loop().time() - began < 30:
                    # Sends are accepted all the time: the outbox keeps them.
                    await alice.say(conversation, party.others(devices[0]), b"meanwhile")
                    await asyncio.sleep(0.5)
                assert alice.slowest < promised(5)
            await party.settled(conversation, seconds=60)

    asyncio.run(talk())


def test_one_held_conversation_stops_no_other(house: House) -> None:
    alice, bob = house.person("Alice's phone"), house.person("Bob's phone")
    carol, dave = house.person("Carol's phone"), house.person("Dave's phone")
    held, free = alice.direct(bob), carol.direct(dave)
    asyncio.run(_hold(house, [alice, bob, carol, dave], held, free))


async def _hold(house: House, devices: list[Resident], held: str, free: str) -> None:
    alice, bob, carol, dave = devices
    async with Talking(house, devices) as party:
        before = await _pace(party.talker(carol), free, dave, 30)
        async with await psycopg.AsyncConnection.connect(house.postgres_url(), autocommit=True) as rival:
            async with rival.transaction():
                await rival.execute("SELECT FROM conversations_conversation WHERE id = %s FOR UPDATE", [held])
                waiting = asyncio.create_task(party.talker(alice).say(held, [bob], b"held"))
                began = asyncio.get_running_loop().time()
                during: list[float] = []
                while asyncio.get_running_loop().time() - began < 5:
                    during += await _pace(party.talker(carol), free, dave, 10)
                assert not waiting.done()
            answer = await asyncio.wait_for(waiting, 10)
        assert answer["seq"] == 1
        # Its pace may not depend on the held one. The machine's own noise is larger than the difference looked for, so the bound is wide.
        assert statistics.median(during) < 5 * statistics.median(before) + 0.05
        assert party.talker(alice).slowest < promised(5), "every try had its answer within 5 s"


async def _pace(talker: Talker, conversation: str, to: Resident, count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = asyncio.get_running_loop().time()
        await talker.say(conversation, [to], b"free")
        times.append(asyncio.get_running_loop().time() - began)
    return times
