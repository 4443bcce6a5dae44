"""One schedule: a small installation lives through some messages and some faults, comes to rest, and is judged."""

import random
from collections.abc import Callable
from itertools import pairwise

import msgspec

from tests.faults.model.clients import Clients, Device, Sender
from tests.faults.model.rules import Rules
from tests.faults.model.servers import Servers
from tests.faults.model.stores import PostgreSQL
from tests.faults.model.world import Choose, Steps, Worker, World

DEVICES = frozenset({"bob", "carol", "laptop"})
LINKED = ("tablet", "watch", "desktop")
CONVERSATIONS, MESSAGES = 2, 4
FAULTS, SWEEPS = 4, 6


class Outcome(msgspec.Struct, frozen=True):
    """What was wrong in the end. `redelivered` is a cost, nothing wrong."""

    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    uncommitted: int = 0
    backlog: int = 0
    acked: int = 0
    redelivered: int = 0

    @property
    def is_violation(self) -> bool:
        return any((self.lost, self.doubled, self.reordered, self.uncommitted, self.backlog))


class Schedule:
    """A small installation under these rules, in the order that `choose` takes."""

    def __init__(self, rules: Rules, choose: Choose, chance: Choose) -> None:
        self.rules = rules
        self.world = World(choose)
        self.postgresql = PostgreSQL(CONVERSATIONS, DEVICES)
        self.servers = Servers(self.world, rules, self.postgresql, chance)
        self.workers = [Worker("web-1", ahead=0), Worker("web-2", ahead=30), Worker("web-3", ahead=-30)]
        self.clients = Clients(self.servers, self.workers)
        self.devices = [Device(name) for name in sorted(DEVICES)]
        self.senders = [Sender("alice", 0, MESSAGES), Sender("dave", 1, MESSAGES), Sender("erin", 0, MESSAGES)]
        self._chance = chance

    def run(self) -> Outcome:
        """Live through it, and come to rest."""
        for device in self.devices:
            self.world.start(self.clients.live(device))
        for sender in self.senders:
            self.world.start(self.clients.send_all(sender))
        if self.rules.has_finisher:
            self.world.start(self.servers.finish_for_ever())
        for name in LINKED:
            self.world.start(self._link(name))
        self.world.start(self._harm())
        if self.rules.sweeps:
            self.world.start(self._sweep())
        self.world.run()
        for _ in range(SWEEPS if self.rules.sweeps else 0):
            self._everybody_looks()
            self.world.run()
        return judged(self)

    def _everybody_looks(self) -> None:
        for socket in self.servers.sockets:
            socket.is_dirty = True

    def _sweep(self) -> Steps:
        while not all(sender.is_done for sender in self.senders):
            yield self.world.at(self.world.clock + 20 + self._chance(60))
            self._everybody_looks()

    def _link(self, name: str) -> Steps:
        """Somebody links a device in the middle of it all."""
        yield self.world.at(10 + self._chance(200))
        self.postgresql.devices.add(name)
        device = Device(name)
        self.devices.append(device)
        self.world.start(self.clients.live(device))

    def _harm(self) -> Steps:
        harms: list[Callable[[], Steps]] = []
        if self.rules.kills:
            harms += [self._kill, self._cut]
        if self.rules.stops:
            harms.append(self._stop)
        for _ in range(FAULTS if harms else 0):
            yield self.world.at(self.world.clock + 10 + self._chance(80))
            yield from harms[self._chance(len(harms))]()

    def _kill(self) -> Steps:
        worker = self.workers[self._chance(len(self.workers))]
        worker.is_alive = worker.is_stopped = False
        self.world.end(worker=worker)
        for socket in self.servers.sockets:
            socket.is_open &= socket.worker is not worker
        yield self.world.at(self.world.clock + 15)
        worker.is_alive = True

    def _stop(self) -> Steps:
        worker = self.workers[self._chance(len(self.workers))]
        worker.is_stopped = True
        yield self.world.at(self.world.clock + 50 + self._chance(400))
        worker.is_stopped = False

    def _cut(self) -> Steps:
        for socket in list(self.servers.sockets):
            if self._chance(2):
                socket.is_open = False
        yield None


def judged(schedule: Schedule) -> Outcome:
    """The outcome of a schedule that has come to rest."""
    heads = schedule.postgresql.heads
    mids = [entry.mid for head in heads for entry in head.log]
    acked = {mid for sender in schedule.senders for mid in sender.acked}
    lost = reordered = 0
    for device in schedule.devices:
        for conversation, head in enumerate(heads):
            shown = [entry.seq for entry in device.shown[conversation]]
            start = head.starts.get(device.name, len(head.log) + 1)
            known = {entry.mid for entry in device.shown[conversation]}
            due = [entry for entry in head.log if entry.seq >= start and entry.mid in acked]
            lost += sum(entry.mid not in known for entry in due)
            reordered += sum(later < earlier for earlier, later in pairwise(shown))
    return Outcome(
        lost=lost,
        doubled=len(mids) - len(set(mids)),
        reordered=reordered,
        uncommitted=len(acked - set(mids)),
        backlog=len(schedule.postgresql.outbox),
        acked=len(acked),
        redelivered=schedule.servers.redelivered,
    )


def by_chance(rules: Rules, seed: int) -> Outcome:
    """The outcome of the schedule of this seed; the same each time."""
    chance = random.Random(seed)  # noqa: S311  (a seed is to repeat it)
    return Schedule(rules, chance.randrange, chance.randrange).run()
