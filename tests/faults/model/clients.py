"""The clients' side: senders that send again until they are told `sent`, devices that come back, hold back and acknowledge."""

from collections import defaultdict

import msgspec

from tests.faults.model.servers import Call, Servers, Socket
from tests.faults.model.stores import Entry
from tests.faults.model.world import Condition, Steps, Worker

PATIENCE = 150


class Sender(msgspec.Struct, eq=False):
    """One device that sends. `acked` are the mids it was told of."""

    name: str
    conversation: int
    messages: int
    acked: list[str] = []
    is_done: bool = False


class Device(msgspec.Struct, eq=False):
    """One device that receives: what it showed of each conversation, in order."""

    name: str
    socket: Socket | None = None
    shown: defaultdict[int, list[Entry]] = msgspec.field(default_factory=lambda: defaultdict(list))
    held: defaultdict[int, dict[int, Entry]] = msgspec.field(default_factory=lambda: defaultdict(dict))


class Clients:
    """All clients of some servers."""

    def __init__(self, servers: Servers, workers: list[Worker]) -> None:
        self.servers, self.workers = servers, workers
        self._world = servers.world

    def send_all(self, sender: Sender) -> Steps:
        """Its messages, one after the other, each until it is acknowledged."""
        for number in range(sender.messages):
            mid = f"{sender.name}{number}"
            while mid not in sender.acked:
                yield self._somebody_lives
                yield from self._try(sender, mid)
        sender.is_done = True

    def _somebody_lives(self) -> bool:
        return any(worker.is_alive for worker in self.workers)

    def _try(self, sender: Sender, mid: str) -> Steps:
        alive = [worker for worker in self.workers if worker.is_alive]
        worker = alive[self._world.choose(len(alive))]
        call = Call(sender.conversation, mid)
        self._world.start(self.servers.send(call, worker), worker)
        late = self._world.at(self._world.clock + PATIENCE)
        yield lambda: call.is_answered or late() or not worker.is_alive
        if call.is_answered:
            sender.acked.append(mid)

    def live(self, device: Device) -> Steps:
        """Connected, again and again."""
        while True:
            yield self._somebody_lives
            alive = [worker for worker in self.workers if worker.is_alive]
            worker = alive[self._world.choose(len(alive))]
            device.socket = socket = Socket(device.name, worker)
            self.servers.sockets.append(socket)
            self._world.start(self.servers.drain(socket), worker, socket)
            yield from self._listen(device, socket)
            self._world.end(socket=socket)
            self.servers.sockets.remove(socket)

    def _listen(self, device: Device, socket: Socket) -> Steps:
        while True:
            yield self._something(socket)
            if not socket.is_open:
                return
            entry = socket.to_client.pop(0)
            self.take(device, entry)
            yield None
            if socket.is_open:
                self._world.start(self.servers.acknowledge(socket, entry), socket.worker)

    def _something(self, socket: Socket) -> Condition:
        return lambda: bool(socket.to_client) or not socket.is_open

    def take(self, device: Device, entry: Entry) -> None:
        """Show it in its place; a message that is known already is not shown again, and fills its place."""
        shown, held = device.shown[entry.conversation], device.held[entry.conversation]
        if not self.servers.rules.holds_back:
            if entry not in shown:
                shown.append(entry)
            return
        held.setdefault(entry.seq, entry)
        start = self.servers.postgresql.heads[entry.conversation].starts[device.name]
        following = shown[-1].seq + 1 if shown else start
        while following in held:
            shown.append(held[following])
            following += 1
