"""A whole installation in one thread: stores, workers, people, and what happens to them, all from one seed."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from uuid import UUID

from accounts import postgresql
from accounts.wire.refusals import ChatError, StorageUnavailable
from chatproject import punctual
from conversations import changes, membership
from conversations.changes import Decision
from conversations.sends import Sender
from messaging import (
    finisher,
    group_commit,
    heart,
    hints,
    mailboxes,
    probing,
    pruning,
    runtime,
    store,
    undeposited,
    window,
)
from messaging.envelopes import Close
from tests.faults import history
from tests.faults.simulation import patches
from tests.faults.simulation.bus import Bus, BusEnd
from tests.faults.simulation.connections import Pool
from tests.faults.simulation.network import Network
from tests.faults.simulation.people import Device
from tests.faults.simulation.postgresql import Server
from tests.faults.simulation.stamped import Rows
from tests.faults.simulation.stores import DistantStore
from tests.faults.simulation.tables import Conversation, Member
from tests.faults.simulation.tables import Device as DeviceRow
from tests.faults.simulation.time_of_its_own import BEGINNING, Scheduler
from tests.faults.simulation.workers import Worker

# Wednesday, 2025-06-04 12:00 UTC.
FIRST_MS = 1_749_038_400_000
DAY_MS = 86_400_000
REVOKED = 4401
UNLINK_SECONDS = 3.0


class World:
    """The installation. `tell` writes the history."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311
        self.history: list[history.AnyEvent] = []
        self.scheduler = Scheduler(random.Random(seed + 1))  # noqa: S311
        self.network = Network(random.Random(seed + 2))  # noqa: S311
        self._ids = random.Random(seed + 3)  # noqa: S311
        self.days_passed_ms = 0
        self.people = self.scheduler.loop("people")
        self.store_loop = self.scheduler.loop("store")
        self.server = Server(self.scheduler.loop("postgresql"), self._server_ms)
        self.kept = Rows()
        self.bus = Bus(self.network)
        self.workers: list[Worker] = []
        self.devices: dict[int, Device] = {}
        self.conversations: list[UUID] = []
        self.beliefs: dict[tuple[int, UUID], list[tuple[int, int]]] = {}
        self.has_ended = False
        self._number = 0
        # Of the build that asks Redis what was sent.
        self.remembered: dict[Any, Any] = {}

    # --- clocks and ids --------------------------------------------------------------------------------------------------------

    def wall_ms(self) -> int:
        """The true time."""
        return FIRST_MS + self.days_passed_ms + int((self.scheduler.now - BEGINNING) * 1000)

    def _server_ms(self) -> int:
        return self.wall_ms()

    def wall_ns(self) -> int:
        """What the running process' clock says."""
        loop = _running_loop()
        return int((self.wall_ms() + 1000 * getattr(loop, "ahead_s", 0.0)) * 1_000_000)

    def uuid7(self, now_ms: int) -> UUID:
        value = (now_ms << 80) | self._ids.getrandbits(80)
        value = (value & ~(0xF << 76)) | (0x7 << 76)
        return UUID(int=(value & ~(0x3 << 62)) | (0x2 << 62))

    def next_number(self) -> int:
        self._number += 1
        return self._number

    # --- what the story is made of ---------------------------------------------------------------------------------------------

    def tell(self, event: history.AnyEvent) -> None:
        self.history.append(event)

    def at(self, kind: Any, /, **facts: Any) -> None:
        self.tell(kind(at=self.scheduler.now, **facts))

    def later(self, seconds: float, work: Callable[..., Any], *args: Any) -> None:
        self.people.call_later(seconds, work, *args)

    def in_flight(self) -> int:
        """Messages asked for and not answered, or committed and not deposited."""
        asked = sum(len(talk.asked) for device in self.devices.values() for talk in device.talks.values())
        return asked + len(self.server.tables.outbox)

    # --- population ------------------------------------------------------------------------------------------------------------

    def person(self) -> UUID:
        user_id = UUID(int=self._ids.getrandbits(128), version=4)
        self.server.tables.users.add(user_id)
        return user_id

    def register(self, user_id: UUID, name: str) -> Device:
        """A new device of this person, as the row stands after its transaction."""
        tables = self.server.tables
        device_id = 101 + len(tables.devices)
        number = 1 + len(tables.devices_of(user_id))
        device = self.devices[device_id] = Device(self, name, user_id, device_id, number)
        tables.devices[device_id] = DeviceRow(device_id, user_id, device.registration_id, number, self.wall_ms())
        return device

    def found(self, kind: str, people: list[UUID]) -> UUID:
        conversation_id = self.uuid7(self.wall_ms())
        tables = self.server.tables
        tables.conversations[conversation_id] = Conversation(kind, last_position=self.server.oldest_open())
        for index, user_id in enumerate(people):
            tables.members.append(Member(conversation_id, user_id, "owner" if index == 0 else "member", 1))
        for device in self.devices.values():
            if device.user_id in people:
                device.was_there_from_the_start(conversation_id)
        self.conversations.append(conversation_id)
        return conversation_id

    def hire(self, name: str) -> Worker:
        worker = Worker(name, self.scheduler, self.bus, self.network)
        self.workers.append(worker)
        return worker

    # --- what clients know -----------------------------------------------------------------------------------------------------

    def any_worker(self) -> Worker | None:
        """A load balancer does not send anybody to a dead process; to a stopped one it may."""
        alive = [worker for worker in self.workers if worker.is_alive]
        return self.chance.choice(alive) if alive else None

    def is_unlinked(self, device_id: int) -> bool:
        return not self.server.tables.devices[device_id].active

    def is_member(self, user_id: UUID, conversation_id: UUID) -> bool:
        return any(member.user_id == user_id for member in self.server.tables.stays(conversation_id))

    def believed_devices(self, device: Device, conversation_id: UUID) -> list[tuple[int, int]]:
        key = device.device_id, conversation_id
        if key not in self.beliefs:
            self.beliefs[key] = self._true_devices(device, conversation_id)
        return self.beliefs[key]

    def ask_devices(self, device: Device, conversation_id: UUID) -> None:
        """The client looks up who is in the conversation; the answer is true when it is given."""
        if self.server.answers:
            self.later(self.network.to_client(), self._learn, device, conversation_id)

    def _learn(self, device: Device, conversation_id: UUID) -> None:
        self.beliefs[device.device_id, conversation_id] = self._true_devices(device, conversation_id)

    def _true_devices(self, device: Device, conversation_id: UUID) -> list[tuple[int, int]]:
        tables = self.server.tables
        people = sorted(member.user_id for member in tables.stays(conversation_id))
        found = [other for user_id in people for other in tables.devices_of(user_id) if other.active]
        return [(other.id, other.registration_id) for other in found if other.id != device.device_id]

    # --- changes ---------------------------------------------------------------------------------------------------------------

    def link(self, user_id: UUID) -> None:
        """A person signs in on another device: the synchronous road's transaction, then its announcement."""
        call = f"link/{self.next_number()}"
        self.at(history.ChangeInvoked, call=call, what="link", by_user=str(user_id))

        if self._refuses(call):
            return

        async def transaction() -> None:
            device = await self.server.alone([user_id], lambda: self.register(user_id, f"linked {call}"))
            answer = partial(self.at, history.ChangeAnswered, call=call, outcome="ok")
            self.later(0.0, lambda: answer(user=str(user_id), device=device.id))
            self.later(self.network.between(0.0, 1.0), device.start)

        self.server.loop.create_task(transaction())

    def unlink(self, device: Device) -> None:
        """The device ends: its row, then a hint to whoever holds its socket."""
        call = f"unlink/{self.next_number()}"
        self.at(history.ChangeInvoked, call=call, what="unlink", by_user=str(device.user_id), device=device.id)

        def write() -> None:
            self.server.tables.devices[device.device_id].active = False

        if self._refuses(call):
            return

        async def transaction() -> None:
            await self.server.alone([device.user_id], write)
            answer = partial(self.at, history.ChangeAnswered, call=call, outcome="ok", device=device.id)
            # Later than what the device itself was told before.
            self.later(UNLINK_SECONDS, answer)
            worker = self.any_worker()
            if worker is not None:
                worker.loop.call_soon(hints.close, device.device_id, Close(REVOKED))

        self.server.loop.create_task(transaction())

    def _refuses(self, call: str) -> bool:
        """Whether nobody answers: then the change has not happened."""
        if not self.server.answers:
            self.at(history.ChangeAnswered, call=call, outcome="refused")
        return not self.server.answers

    def add(self, conversation_id: UUID, actor: Device, user_id: UUID) -> None:
        people = [user_id]
        decision = Decision(partial(membership._refuse_adding, people), partial(membership._add, people), people)
        self._change("add", conversation_id, actor, user_id, partial(changes.change, decision=decision))

    def remove(self, conversation_id: UUID, actor: Device, user_id: UUID) -> None:
        self._change("remove", conversation_id, actor, user_id, partial(membership.remove, user_id=user_id))

    def _change(self, what: Any, conversation_id: UUID, actor: Device, user_id: UUID, work: Callable[..., Any]) -> None:
        worker = self.any_worker()
        if worker is None:
            return
        call = f"{what}/{self.next_number()}"
        self.at(
            history.ChangeInvoked,
            call=call,
            what=what,
            by_user=str(actor.user_id),
            by_device=actor.id,
            conversation=str(conversation_id),
            users=(str(user_id),),
        )
        sender = Sender(actor.user_id, actor.device_id, actor.number)
        worker.errand(self.people, lambda: _in_time(work(sender, conversation_id)), partial(self._changed, call))

    def _changed(self, call: str, result: Any) -> None:
        if isinstance(result, ChatError):
            outcome: Any = "unknown" if result.retryable else "refused"
            self.at(history.ChangeAnswered, call=call, outcome=outcome, code=result.code)
        else:
            self.at(history.ChangeAnswered, call=call, outcome="ok")

    # --- running ---------------------------------------------------------------------------------------------------------------

    def pool(self, conninfo: str, **limits: Any) -> Pool:
        """Connections of the running process; wherever they are said to lead, there is one server."""
        del conninfo
        return Pool(self.server, self.network, **limits)

    async def ask_redis(self) -> None:
        await asyncio.sleep(2 * self.network.to_redis())
        if self.network.hints_are_down:
            raise OSError

    def store(self) -> DistantStore:
        return DistantStore(self.kept, self.store_loop, self.network)

    def layer(self) -> BusEnd:
        loop = _running_loop()
        return next(worker.layer for worker in self.workers if worker.loop is loop)

    def scales(self) -> dict[Any, dict[str, Any]]:
        """Constants made small by chance: the window, a page, a batch, a look into the outbox, what rides in a hint."""
        choice = self.chance.choice
        return {
            window: {"ENVELOPES": choice([256, 8, 4]), "REMEMBERED_ACKS": choice([4096, 16])},
            mailboxes: {"PAGE": choice([256, 5, 3]), "SWEEP_SECONDS": 15.0},
            undeposited: {"LARGEST_LOOK": choice([1000, 1000, 4])},
            group_commit: {"LARGEST_BATCH": choice([100, 4])},
            hints: {"LARGEST_RIDER": 512},
            # These only cost time here.
            probing: {"CALM_SECONDS": 5.0},
            heart: {"BEAT_SECONDS": 6.0},
            finisher: {"PAUSE_SECONDS": 2.5},
            # Nothing gets old enough for it.
            pruning: {"LOOK_SECONDS": 1e9},
        }

    def installed(self) -> Any:
        _current[:] = [self]
        return patches.installed(self, self.seed, self.scheduler.problems, self.scales())

    def end(self) -> None:
        """Let everything go; nothing of this world is left in the service's registers."""
        self.has_ended = True
        self.scheduler.end()
        for loop in self.scheduler.loops:
            runtime._running.pop(loop, None)
            postgresql._pools.pop(loop, None)
            store._stores.pop(loop, None)


def current() -> World:
    """The world that is being played."""
    return _current[0]


_current: list[World] = []


def _running_loop() -> Any:
    return asyncio._get_running_loop()


async def _in_time(work: Coroutine[Any, Any, Any]) -> Any:
    """As over HTTP: who waits too long is told so, and what was begun goes on."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_forget)
    await asyncio.wait({task}, timeout=punctual.ANSWER_SECONDS)
    if not task.done():
        raise StorageUnavailable
    return task.result()


def _forget(task: "asyncio.Future[Any]") -> None:
    """A refusal comes too late to be told; whatever else it was the loop is told of."""
    failure = None if task.cancelled() else task.exception()
    if failure is not None and not isinstance(failure, ChatError):
        raise failure
