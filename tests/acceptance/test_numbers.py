"""/metrics behind one port: whichever process is asked answers for all of them."""

import asyncio
import os
import signal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.house import House, wait_for
from tests.acceptance.talking import Talking

pytestmark = pytest.mark.installation


def numbers(house: House, name: str) -> dict[str, float]:
    """The series of this name, by process."""
    text = httpx.get(f"{house.http}/metrics", timeout=5).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {sample.labels["process"]: sample.value for sample in samples if sample.name == name}


def test_every_process_is_told_of_and_none_that_is_gone(postgresql_house: House) -> None:
    house = postgresql_house
    alice, bob = house.person("Alice's phone"), house.person("Bob's phone")
    conversation = alice.direct(bob)
    before = sum(numbers(house, "waypost_sends_accepted_total").values())

    async def talk() -> None:
        async with Talking(house, [alice, bob]) as party:
            for _ in range(20):
                await party.talkers[0].say(conversation, [bob], b"counted")
            await party.settled(conversation, seconds=30)

    asyncio.run(talk())
    workers = {str(worker.pid) for worker in house.workers()}
    assert len(workers) == 2
    wait_for(lambda: numbers(house, "waypost_sockets").keys() == workers, 10)
    wait_for(lambda: sum(numbers(house, "waypost_sends_accepted_total").values()) == before + 20, 10)
    gone = workers.pop()
    os.kill(int(gone), signal.SIGKILL)
    wait_for(lambda: gone not in numbers(house, "waypost_sockets"), 30)
    assert workers <= numbers(house, "waypost_sockets").keys()
    wait_for(house.is_ready, 30)
