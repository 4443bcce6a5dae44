"""What people do besides talking: they join and leave, link phones and lose them, look things up, come and go."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tests.faults.load import changes
from tests.faults.load.device import Device
from tests.faults.load.scene import Person, Scene, Talk
from tests.faults.load.web import NoAnswer

PAUSE_SECONDS = 0.1
MOST_DEVICES = 4
FEWEST_MEMBERS = 3
HISTORY_LIMIT = 30


class Life:
    """Runs while `scene.is_living`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._busy: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        plan = self._scene.plan
        rhythms: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (plan.membership_every, self.change_members),
            (plan.devices_every, self.change_devices),
            (plan.reinstall_every, self.reinstall),
            (plan.found_every, self.found),
            (plan.look_every, self.look),
            (plan.guests_every, self.come_or_go),
        ]
        async with asyncio.TaskGroup() as group:
            for every, deed in rhythms:
                if every:
                    group.create_task(self._now_and_then(every, deed))

    async def settle(self) -> None:
        """Return when no change is under way."""
        while any(not task.done() for task in self._busy):  # noqa: ASYNC110  (a set that changes)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _now_and_then(self, every: float, deed: Callable[[], Awaitable[None]]) -> None:
        due = time.monotonic() + self._scene.rng.uniform(0.2, 1.0) * every
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            if not self._scene.is_living or time.monotonic() < due:
                continue
            due = time.monotonic() + every
            task = asyncio.ensure_future(deed())
            self._busy.add(task)
            try:
                await task
            finally:
                self._busy.discard(task)

    # --- members -----------------------------------------------------------------------------------------------------------------

    async def change_members(self) -> None:
        groups = [talk for talk in self._scene.talks.values() if talk.kind == "group" and not talk.is_changing]
        if not groups:
            return
        talk = self._scene.rng.choice(groups)
        with _changing(talk):
            await self._change(talk)

    async def _change(self, talk: Talk) -> None:
        scene, rng = self._scene, self._scene.rng
        actor = self._admin_of(talk)
        outside = [person for person in scene.people.values() if person.user_id not in talk.roles and person.devices]
        plain = [user_id for user_id, role in talk.roles.items() if role == "member"]
        if actor is None:
            return
        may_shrink = len(talk.roles) > FEWEST_MEMBERS and plain
        deed = rng.choices(["add", "remove", "leave", "role"], [40, 25, 15, 20])[0]
        if deed == "role" and (candidates := [one for one, role in talk.roles.items() if role != "owner"]):
            chosen = rng.choice(candidates)
            await changes.give_role(scene, actor, talk, chosen, "member" if talk.roles[chosen] == "admin" else "admin")
        elif deed == "remove" and may_shrink:
            await changes.remove(scene, actor, talk, rng.choice(plain))
        elif deed == "leave" and may_shrink and (leaver := self._device_of(rng.choice(plain))) is not None:
            await changes.leave(scene, leaver, talk)
        elif outside and len(talk.roles) < scene.plan.largest:
            await changes.add(scene, actor, talk, rng.choice(outside))

    def _admin_of(self, talk: Talk) -> Device | None:
        admins = [self._device_of(user_id) for user_id, role in talk.roles.items() if role != "member"]
        found = [device for device in admins if device is not None]
        return self._scene.rng.choice(found) if found else None

    def _device_of(self, user_id: str) -> Device | None:
        person = self._scene.people.get(user_id)
        return self._scene.rng.choice(person.devices) if person is not None and person.devices else None

    # --- devices -----------------------------------------------------------------------------------------------------------------

    async def change_devices(self) -> None:
        those = [one for one in self._scene.people.values() if one.devices and not (one.is_guest or one.is_changing)]
        if those:
            person = self._scene.rng.choice(those)
            with _changing(person):
                await self._change_devices(person)

    async def _change_devices(self, person: Person) -> None:
        scene, rng = self._scene, self._scene.rng
        most = max(scene.plan.devices + 1, 2)
        if len(person.devices) < min(most, MOST_DEVICES) and rng.random() < 0.6:
            await changes.link(scene, person)
        elif len(person.devices) > 1:
            victim = rng.choice(person.devices[:-1])
            await changes.unlink(scene, rng.choice([person.devices[-1], victim]), victim)

    async def reinstall(self) -> None:
        good = [device for device in self._scene.devices() if device.manner == "good" and not device.is_away]
        good = [device for device in good if not device.person.is_changing]
        if good:
            former = self._scene.rng.choice(good)
            with _changing(former.person):
                await changes.reinstall(self._scene, former)

    async def come_or_go(self) -> None:
        """A guest is away for a while, and finds everything when it comes back."""
        guests = [device for device in self._scene.devices() if device.person.is_guest]
        if guests:
            guest = self._scene.rng.choice(guests)
            guest.is_away = not guest.is_away
            guest.come_back()

    # --- conversations -----------------------------------------------------------------------------------------------------------

    async def found(self) -> None:
        scene, rng = self._scene, self._scene.rng
        creator = rng.choice(scene.devices())
        others: list[Person] = [one for one in scene.people.values() if one is not creator.person and one.devices]
        await changes.found(scene, creator, rng.sample(others, k=min(len(others), rng.choice([1, 3, 5]))))

    async def look(self) -> None:
        """Read a page of history. What it must not show (content of others' devices) is in the payload, like everywhere."""
        device = self._scene.rng.choice(self._scene.devices())
        talks = sorted(device.roster.talks)
        if not talks:
            return
        conversation = self._scene.rng.choice(talks)
        try:
            page = await device.call("GET", f"conversations/{conversation}/messages", limit=HISTORY_LIMIT)
        except NoAnswer:
            return
        if not page.code:
            device.history.compare(conversation, page.body, device.session)


@contextmanager
def _changing(subject: Person | Talk) -> Iterator[None]:
    subject.is_changing = True
    try:
        yield
    finally:
        subject.is_changing = False
