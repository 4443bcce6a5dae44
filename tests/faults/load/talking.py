"""The pace: so many messages a second, each from some device in some conversation it is in."""

import asyncio
import time

from tests.faults.load.device import Device
from tests.faults.load.scene import Scene

TICK_SECONDS = 0.05
TRIES = 20


class Talking:
    """Runs for ever; sends while `scene.is_sending`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._credit = 0.0

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if self._scene.is_sending:
                self._credit = min(self._credit + (now - last) * self._scene.plan.rate, self._scene.plan.rate)
                self._spend()
            last = now
            for device in self._scene.devices():
                device.tick(now)
            for device in self._scene.retired:
                device.receiving.tick(now)

    def _spend(self) -> None:
        """Every conversation is as lively as any other, or a message would go to the largest ones most of the time."""
        places: dict[str, list[Device]] = {}
        for device in self._scene.devices():
            for conversation in () if device.is_away else device.roster.talks:
                places.setdefault(conversation, []).append(device)
        names = sorted(places)
        while names and self._credit >= 1:
            self._credit -= 1
            for _ in range(TRIES):
                conversation = self._scene.rng.choice(names)
                if self._say_something(self._scene.rng.choice(places[conversation]), conversation):
                    break

    def _say_something(self, device: Device, conversation: str) -> bool:
        """A burst now and then: what is pipelined has to arrive in its order."""
        if not device.posting.say_something(conversation):
            return False
        while self._credit >= 1 and self._scene.rng.random() < 0.5 and device.posting.say_something(conversation):
            self._credit -= 1
        return True
