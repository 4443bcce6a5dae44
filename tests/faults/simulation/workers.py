"""Web processes of the simulated installation: the real runtime and the real consumer, each process on a loop of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from accounts import postgresql
from accounts.wire.refusals import ChatError, StorageUnavailable
from conversations.access import access_log
from messaging import runtime
from messaging.consumers import DeviceConsumer
from messaging.resolving import Resolved, resolve
from tests.faults.simulation.bus import Bus, BusEnd
from tests.faults.simulation.network import Network
from tests.faults.simulation.time_of_its_own import Scheduler, SimulatedLoop

GOING_AWAY = 1012


class Wire:
    """One websocket between a process and a client. Each direction keeps its order; either end may be cut off."""

    def __init__(self, worker: "Worker", people: SimulatedLoop, heard: Callable[[bytes], None], closed: Any) -> None:
        self._worker = worker
        self._loop = worker.loop
        self._people = people
        self._heard = heard
        self._closed: Callable[[int | None], None] = closed
        self._up_at = self._down_at = 0.0
        self.is_cut = False
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def say(self, frame: bytes) -> None:
        """From the client."""
        self._to_worker({"type": "websocket.receive", "bytes": frame})

    def cut(self) -> None:
        """The connection is gone: both ends notice, each in its time; what was under way is lost."""
        if not self.is_cut:
            self._to_worker({"type": "websocket.disconnect", "code": 1006})
            self.is_cut = True
            self._people.call_later(self._worker.network.to_client(), self._closed, None)

    def _to_worker(self, message: dict[str, Any]) -> None:
        if not self.is_cut:
            self._up_at = max(self._up_at, self._loop.time() + self._worker.network.to_client())
            self._loop.call_at(self._up_at, self.incoming.put_nowait, message)

    async def send(self, message: dict[str, Any]) -> None:
        """From the consumer."""
        if self.is_cut:
            raise RuntimeError("the socket is closed")
        self._down_at = max(self._down_at, self._loop.time() + self._worker.network.to_client())
        if message["type"] == "websocket.send":
            self._people.call_at(self._down_at, self._deliver, message["bytes"])
        elif message["type"] == "websocket.close":
            self._people.call_at(self._down_at, self._close, message["code"])

    def _deliver(self, frame: bytes) -> None:
        if not self.is_cut:
            self._heard(frame)

    def _close(self, code: int) -> None:
        if not self.is_cut:
            self._to_worker({"type": "websocket.disconnect", "code": code})
            self.is_cut = True
            self._closed(code)


class Consumer(DeviceConsumer):
    """The real consumer, whose place in a set does not depend on where in memory it lies."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class Call:
    """One request over HTTP, answered once."""

    def __init__(self, people: SimulatedLoop, network: Network, answered: Callable[[Any], None]) -> None:
        self._people = people
        self._network = network
        self._answered = answered
        self.is_answered = False

    def answer(self, result: Any) -> None:
        if not self.is_answered:
            self.is_answered = True
            self._people.call_later(self._network.to_client(), self._answered, result)


class Worker:
    """One process, which may be started again after it was killed: a new loop each time."""

    def __init__(self, name: str, scheduler: Scheduler, bus: Bus, network: Network) -> None:
        self.name = name
        self.network = network
        self.loop: SimulatedLoop
        self.is_alive = False
        self.ahead_s = 0.0
        self._scheduler = scheduler
        self._bus = bus
        self._wires: list[Wire] = []
        self._calls: list[Call] = []
        self._sockets = 0

    def start(self) -> None:
        """Bring the process up, with stores of its own to talk to."""
        self.loop = self._scheduler.loop(self.name, ahead_s=self.ahead_s)
        self.is_alive = True
        self._wires = []
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        self.layer = BusEnd(self._bus)
        self.loop.create_task(_quietly(runtime.running()))

    def kill(self) -> None:
        """As SIGKILL. Its connections are closed by the system; what had reached a store is done there."""
        self.is_alive = False
        self.loop.kill()
        for wire in self._wires:
            wire.cut()
        for call in self._calls:
            call.answer(StorageUnavailable())
        for pool in postgresql._pools.pop(self.loop, {}).values():
            pool.hang_up()  # type: ignore[attr-defined]
        self._bus.forget(self.loop)

    def connect(self, device: Any, people: SimulatedLoop, heard: Callable[[bytes], None], closed: Any) -> Wire:
        """Open a websocket for the device, as its access token would."""
        wire = Wire(self, people, heard, closed)
        self._wires = [wire for wire in self._wires if not wire.is_cut]
        self._wires.append(wire)
        self.loop.call_later(self.network.to_client(), self._accept, wire, device)
        return wire

    def _accept(self, wire: Wire, device: Any) -> None:
        wire.incoming.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "device": device}
        self.loop.create_task(_quietly(Consumer(self._next_number())(scope, wire.incoming.get, wire.send)))

    def errand(self, people: SimulatedLoop, work: Callable[[], Awaitable[Any]], answered: Any) -> None:
        """Do a request's work in this process. `answered` gets what it returns, or its refusal; the same as an outage, if the process dies of it."""
        call = Call(people, self.network, answered)
        self._calls = [known for known in self._calls if not known.is_answered]
        self._calls.append(call)

        async def do() -> None:
            try:
                call.answer(await work())
            except ChatError as refusal:
                call.answer(refusal)

        self.loop.call_later(self.network.to_client(), lambda: self.loop.create_task(do()))

    def _next_number(self) -> int:
        self._sockets += 1
        return self._sockets

    async def resolve(
        self, user_id: UUID, device_id: int, conversation_id: UUID, asked: tuple[int, int]
    ) -> list[Resolved]:
        view = await access_log(user_id, device_id, conversation_id)
        return await resolve(view, *asked, (await runtime.running()).store)


async def _quietly(work: Awaitable[Any]) -> None:
    await work
