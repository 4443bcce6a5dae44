"""The server's side: a send, the finisher, and the drain of a socket, step by step."""

import msgspec

from tests.faults.model.rules import Rules
from tests.faults.model.stores import Entry, PostgreSQL, Store
from tests.faults.model.world import Choose, Condition, Steps, Worker, World

CLAIM, PAGE, WINDOW = 40, 2, 3


class Call(msgspec.Struct, eq=False):
    """One attempt of a send. `is_answered`: the client was told `sent`."""

    conversation: int
    mid: str
    is_answered: bool = False


class Socket(msgspec.Struct, eq=False):
    """A device's connection to a worker. `to_client`: what was sent to it and not taken yet."""

    device: str
    worker: Worker
    is_open: bool = True
    hears: bool = False
    is_dirty: bool = True
    is_cut: bool = False
    in_flight: dict[tuple[int, int], Entry] = {}
    acked: set[tuple[int, int]] = set()
    to_client: list[Entry] = []
    highest: int = 0


class Servers:
    """All workers over their stores."""

    def __init__(self, world: World, rules: Rules, postgresql: PostgreSQL, chance: Choose) -> None:
        self.world, self.rules, self.postgresql, self.store = world, rules, postgresql, Store()
        self.sockets: list[Socket] = []
        self.sent: dict[str, set[str]] = {}
        self.redelivered = 0
        self.delivered: set[tuple[str, int, int]] = set()
        self._chance = chance
        self._sequence = 100

    # --- sends -----------------------------------------------------------------------------------------------------------------------

    def send(self, call: Call, worker: Worker) -> Steps:
        head = self.postgresql.heads[call.conversation]
        early = self._audience() if not self.rules.reads_audience_inside else None
        number = self._number(worker)
        yield None
        yield self._free(call.conversation)
        transaction = self.postgresql.begin()
        try:
            head.locked_by = transaction
            yield None
            if self.rules.has_ledger and any(entry.mid == call.mid for entry in head.log):
                call.is_answered = True
                return
            to = early or self._audience()
            entry = Entry(call.conversation, len(head.log) + 1, call.mid, number or transaction, self.world.clock, to)
            call.is_answered = not self.rules.answers_after_commit
            yield None
            self.commit(entry)
        finally:
            self.postgresql.end(transaction)
        yield None
        call.is_answered = True
        yield from self.relay(entry, worker)

    def _free(self, conversation: int) -> Condition:
        return lambda: not self.postgresql.heads[conversation].locked_by

    def _number(self, worker: Worker) -> int:
        """A position that is taken before the commit; 0 where the transaction gives it."""
        if self.rules.position == "sequence":
            self._sequence += 1
            return self._sequence
        return self.world.clock + worker.ahead + 100 if self.rules.position == "clock" else 0

    def _audience(self) -> frozenset[str]:
        return frozenset(self.postgresql.devices)

    def commit(self, entry: Entry) -> None:
        head = self.postgresql.heads[entry.conversation]
        for device in entry.to:
            head.starts.setdefault(device, entry.seq)
        head.log.append(entry)
        self.postgresql.outbox[entry.conversation, entry.seq] = entry, self.world.clock + CLAIM

    def relay(self, entry: Entry, worker: Worker | None) -> Steps:
        for device in sorted(entry.to):
            yield None
            self.store.write(device, entry, at=self._stamp(entry.kept, worker), acked=False)
        for device in sorted(entry.to):
            yield None
            self._hint(device, entry)
        yield None
        self.postgresql.outbox.pop((entry.conversation, entry.seq), None)

    def _stamp(self, own: int, worker: Worker | None) -> int:
        return own if self.rules.stamps_rows else self.world.clock + (worker.ahead if worker else 0)

    def _hint(self, device: str, entry: Entry) -> None:
        for socket in self.sockets:
            if socket.device == device and socket.is_open and socket.hears and not self._is_lost():
                if self.rules.envelopes_ride:
                    self._offer(socket, [entry])
                socket.is_dirty = True

    def _is_lost(self) -> bool:
        return self.rules.hints_lost > 0 and self._chance(100) < 100 * self.rules.hints_lost

    # --- the finisher ----------------------------------------------------------------------------------------------------------------

    def finish_for_ever(self) -> Steps:
        while True:
            yield lambda: bool(self.postgresql.outbox)
            yield self.world.at(min(until for _, until in self.postgresql.outbox.values()))
            for entry in self.postgresql.expired(self.world.clock):
                key = entry.conversation, entry.seq
                if key in self.postgresql.outbox:
                    self.postgresql.outbox[key] = entry, self.world.clock + CLAIM
                    yield from self.relay(entry, None)

    # --- the drain -------------------------------------------------------------------------------------------------------------------

    def drain(self, socket: Socket) -> Steps:
        socket.hears = self.rules.subscribes_first
        while True:
            yield lambda: socket.is_dirty
            if self.rules.clears_first:
                socket.is_dirty = False
            yield None
            if self.rules.cursor == "in_flight":
                self._move(socket, self.postgresql.watermark, list(socket.in_flight.values()))
            yield from self._pass(socket)
            if not self.rules.clears_first:
                socket.is_dirty = False
            yield None
            socket.hears = True

    def _pass(self, socket: Socket) -> Steps:
        """Only a complete pass moves the cursor, below what it saw and the watermark it began with."""
        watermark = self.postgresql.watermark
        yield None
        undeposited = self.postgresql.undeposited(socket.device)
        socket.is_cut, seen = False, list[Entry]()
        after = self._since(socket), "~", 0
        yield None
        while page := self.store.pending(socket.device, after, PAGE):
            seen += page
            self._offer(socket, page)
            if socket.is_cut:
                return
            after = page[-1].position, page[-1].mid, page[-1].seq
            yield None
        yield None
        if self.rules.cursor == "lag":
            self.store.times[socket.device] = self.world.clock + self.rules.drain_ahead - self.rules.lag
        self._move(socket, watermark, seen)
        self._offer(socket, undeposited)

    def _since(self, socket: Socket) -> int:
        return socket.highest if self.rules.cursor == "connection" else self.store.cursors[socket.device]

    def _move(self, socket: Socket, watermark: int, unacked: list[Entry]) -> None:
        match self.rules.cursor:
            case "watermark" | "in_flight":
                low = min([watermark, *(entry.position for entry in unacked)]) - 1
            case "max_seen":
                low = socket.highest
            case _:
                return
        self.store.cursors[socket.device] = max(low, self.store.cursors[socket.device])

    def _offer(self, socket: Socket, entries: list[Entry]) -> None:
        for entry in entries:
            key = entry.conversation, entry.seq
            if key in socket.in_flight or key in socket.acked:
                continue
            if len(socket.in_flight) >= WINDOW:
                socket.is_cut = True
                return
            socket.in_flight[key] = entry
            socket.highest = max(socket.highest, entry.position)
            socket.to_client.append(entry)
            self._count(socket.device, key)

    def _count(self, device: str, key: tuple[int, int]) -> None:
        self.redelivered += (device, *key) in self.delivered
        self.delivered.add((device, *key))

    def acknowledge(self, socket: Socket, entry: Entry) -> Steps:
        """The ack of one envelope arrives; it is written a little later."""
        key = entry.conversation, entry.seq
        socket.in_flight.pop(key, None)
        socket.acked.add(key)
        if socket.is_cut:
            socket.is_dirty = True
        yield None
        if self.rules.acks_exactly:
            at = max(self.world.clock, entry.kept + 1) if self.rules.stamps_rows else self._stamp(0, socket.worker)
            self.store.write(socket.device, entry, at=at, acked=True)
        else:
            self.store.empty(socket.device, entry.position)
