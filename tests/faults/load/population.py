"""Who there is at the beginning: people, their devices, their conversations. All of it follows from the seed."""

import asyncio

from tests.faults.load import changes
from tests.faults.load.device import Device
from tests.faults.load.scene import Person, Scene

AT_ONCE = 8
TRIES = 10
HOURS_1970, HOURS_2038 = -56 * 8766.0, 12 * 8766.0
DIRECT_SHARE = 3


class NotFounded(Exception):
    """The servers did not take the people of the beginning."""


async def settle_in(scene: Scene) -> None:
    """Everybody is signed in and connected, and the conversations are there. Raises NotFounded."""
    plan = scene.plan
    people = [Person(f"user{number}", _phone(scene, number)) for number in range(plan.users)]
    people += [
        Person(f"guest{number}", _phone(scene, plan.users + number), is_guest=True) for number in range(plan.guests)
    ]
    turn = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(_move_in(scene, person, turn, skewed=at < plan.skewed) for at, person in enumerate(people)))
    for number in range(plan.conversations):
        await _found(scene, people, number)
    for device in scene.devices():
        device.start()


def _phone(scene: Scene, number: int) -> str:
    return f"+6689{scene.plan.seed % 1000:03d}{number:04d}"


async def _move_in(scene: Scene, person: Person, turn: asyncio.Semaphore, *, skewed: bool) -> None:
    async with turn:
        for number in range(1 if person.is_guest else scene.plan.devices):
            skew = 3600 * (HOURS_1970, HOURS_2038)[number % 2] if skewed else 0.0
            device = await changes.sign_in(scene, person, skew=skew)
            if device is None:
                raise NotFounded(f"{person.name} could not sign in")
            person.devices.append(device)


async def _found(scene: Scene, people: list[Person], number: int) -> None:
    """A third is direct; the groups grow from three members to the largest, most of them small."""
    plan, rng = scene.plan, scene.rng
    directs = plan.conversations // DIRECT_SHARE
    groups = max(plan.conversations - directs, 1)
    size = 2
    if number >= directs:
        grown = ((number - directs + 1) / groups) ** 3
        size = 3 + round((min(plan.largest, len(people)) - 3) * grown)
    size = min(size, len(people))
    creator, *others = rng.sample(people, size)
    device: Device = creator.devices[0]
    for _ in range(TRIES):
        if await changes.found(scene, device, others) is not None:
            return
        await asyncio.sleep(1)
    raise NotFounded(f"conversation {number} could not be founded")
