"""The web workers are restarted in turn while people talk: nobody loses anything, and nobody waits for a worker to start.

How long anybody is refused, in seconds, is a figure of `make faults`: here it would be one of the machine.
"""

import asyncio
import re
import time

import pytest

from tests.acceptance.house import House
from tests.acceptance.talking import Party
from tests.acceptance.test_faults import talk_through, three_devices

pytestmark = pytest.mark.installation

ADVICE = re.compile(r"retry_after_ms=(\d+)")


def test_a_rolling_restart_loses_nothing_and_refuses_nothing_for_long(house: House) -> None:
    devices, conversation = three_devices(house)
    workers = {worker.pid for worker in house.workers()}
    lasted = 0.0

    def restart() -> None:
        nonlocal lasted
        began = time.monotonic()
        house.restart_workers()
        lasted = time.monotonic() - began

    party = asyncio.run(talk_through(house, devices, conversation, restart, 2))
    assert not workers & {worker.pid for worker in house.workers()}
    waited = [(talker.device.name, talker.longest, talker.slowest, talker.closes) for talker in party.talkers]
    # Were both workers away at once, everybody would wait for all of it.
    assert max(talker.longest for talker in party.talkers) < 0.7 * lasted, (lasted, waited)
    _check_advice(party)


def _check_advice(party: Party) -> None:
    closes = [close for talker in party.talkers for close in talker.closes]
    assert {code for code, _ in closes} == {1012}
    assert len(closes) >= len(party.talkers), "every socket was on one of the workers"
    for _, reason in closes:
        advice = ADVICE.fullmatch(reason)
        assert advice is not None
        assert int(advice[1]) < 1000, "three sockets need no long spread"
