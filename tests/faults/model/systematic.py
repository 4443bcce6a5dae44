"""All schedules of one message on its way to one device that is just connecting: for rules whose absence shows in few of them."""

from collections.abc import Iterator

from tests.faults.model.clients import Clients, Device, Sender
from tests.faults.model.rules import Rules
from tests.faults.model.schedules import Outcome, Schedule, judged
from tests.faults.model.servers import Servers, Socket
from tests.faults.model.stores import Entry, PostgreSQL
from tests.faults.model.world import Steps, Worker, World

Choices = tuple[int, ...]


class Script:
    """Choices by a prefix, and the first of all after it; it notes how many there were."""

    def __init__(self, prefix: Choices) -> None:
        self.prefix = prefix
        self.widths: list[int] = []

    def choose(self, width: int) -> int:
        number = len(self.widths)
        self.widths.append(width)
        return self.prefix[number] if number < len(self.prefix) else 0


class Little(Schedule):
    """One sender, one message, one worker, one device."""

    def __init__(self, rules: Rules, script: Script) -> None:
        self.rules = rules
        self.world = World(script.choose)
        self.postgresql = PostgreSQL(1, frozenset({"bob"}))
        self.servers = Servers(self.world, rules, self.postgresql, lambda _: 0)
        self.workers = [Worker("web-1")]
        self.clients = Clients(self.servers, self.workers)
        self.devices = [Device("bob")]
        self.senders = [Sender("alice", 0, 1)]

    def run(self) -> Outcome:
        """The commit and what follows it, beside a drain that has just begun; the client comes when all is at rest."""
        [device], [sender], [worker] = self.devices, self.senders, self.workers
        device.socket = Socket(device.name, worker)
        self.servers.sockets.append(device.socket)
        self.world.start(self.servers.drain(device.socket), worker)
        self.world.start(self._commit_and_relay(sender, worker), worker)
        self.world.run()
        for entry in device.socket.to_client:
            self.clients.take(device, entry)
        return judged(self)

    def _commit_and_relay(self, sender: Sender, worker: Worker) -> Steps:
        transaction = self.postgresql.begin()
        entry = Entry(0, 1, "m", transaction, 0, frozenset({"bob"}))
        yield None
        self.servers.commit(entry)
        self.postgresql.end(transaction)
        sender.acked.append(entry.mid)
        yield from self.servers.relay(entry, worker)


def outcomes(rules: Rules) -> Iterator[tuple[Choices, Outcome]]:
    """Every schedule there is, with the choices that repeat it."""
    prefix: Choices | None = ()
    while prefix is not None:
        script = Script(prefix)
        outcome = Little(rules, script).run()
        chosen = prefix + (0,) * (len(script.widths) - len(prefix))
        yield chosen, outcome
        prefix = _next(chosen, script.widths)


def repeated(rules: Rules, choices: Choices) -> Outcome:
    """The outcome of one of them."""
    return Little(rules, Script(choices)).run()


def _next(chosen: Choices, widths: list[int]) -> Choices | None:
    """The choices after these, counting as an odometer does."""
    for place in range(len(chosen) - 1, -1, -1):
        if chosen[place] + 1 < widths[place]:
            return (*chosen[:place], chosen[place] + 1)
    return None
