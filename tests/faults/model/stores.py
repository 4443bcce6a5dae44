"""PostgreSQL as atomic transactions, the message store as one register for each mailbox row, whose latest write holds."""

from collections import defaultdict

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One committed message."""

    conversation: int
    seq: int
    mid: str
    position: int
    kept: int
    to: frozenset[str]


class Head(msgspec.Struct):
    """The end of a conversation's log; `locked_by` a transaction. `starts`: from which seq on each device is in."""

    log: list[Entry] = []
    locked_by: int = 0
    starts: dict[str, int] = {}


class PostgreSQL:
    """What is committed, and which transactions are open."""

    def __init__(self, conversations: int, devices: frozenset[str]) -> None:
        self.heads = [Head(starts=dict.fromkeys(devices, 1)) for _ in range(conversations)]
        self.devices = set(devices)
        self.outbox: dict[tuple[int, int], tuple[Entry, int]] = {}
        self._last = 100
        self._open: set[int] = set()

    def begin(self) -> int:
        self._last += 1
        self._open.add(self._last)
        return self._last

    def end(self, transaction: int) -> None:
        """Commit or roll back: its locks are free."""
        self._open.discard(transaction)
        for head in self.heads:
            if head.locked_by == transaction:
                head.locked_by = 0

    @property
    def watermark(self) -> int:
        """Everything at a lower position is deposited."""
        undeposited = (entry.position for entry, _ in self.outbox.values())
        return min([self._last + 1, *self._open, *undeposited])

    def undeposited(self, device: str) -> list[Entry]:
        entries = (entry for entry, _ in self.outbox.values() if device in entry.to)
        return sorted(entries, key=lambda entry: (entry.position, entry.seq))

    def expired(self, now: int) -> list[Entry]:
        """Entries whose claim nobody holds."""
        return [entry for entry, claimed_until in self.outbox.values() if claimed_until <= now]


class Cell(msgspec.Struct):
    """The register of one mailbox row."""

    entry: Entry
    at: int
    is_acked: bool


class Store:
    """Mailboxes and their cursors: a position, and a time for those who believe in it."""

    def __init__(self) -> None:
        self.mailboxes: defaultdict[str, dict[tuple[int, str, int], Cell]] = defaultdict(dict)
        self.cursors: defaultdict[str, int] = defaultdict(int)
        self.times: defaultdict[str, int] = defaultdict(lambda: -(10**9))
        self.emptied: defaultdict[str, int] = defaultdict(int)

    def write(self, device: str, entry: Entry, *, at: int, acked: bool) -> None:
        """The later write holds; of two at the same time, the ack."""
        key = entry.position, entry.mid, entry.seq
        if entry.position <= self.emptied[device]:
            return
        cell = self.mailboxes[device].get(key)
        if cell is None or (at, acked) > (cell.at, cell.is_acked):
            self.mailboxes[device][key] = Cell(entry, at, acked)

    def empty(self, device: str, position: int) -> None:
        """Acknowledge a range: also what is not there yet."""
        self.emptied[device] = max(self.emptied[device], position)
        for key in [key for key in self.mailboxes[device] if key[0] <= position]:
            del self.mailboxes[device][key]

    def pending(self, device: str, after: tuple[int, str, int], limit: int) -> list[Entry]:
        found = [
            (key, cell.entry)
            for key, cell in sorted(self.mailboxes[device].items())
            if key > after and not cell.is_acked and cell.entry.kept > self.times[device]
        ]
        return [entry for _, entry in found[:limit]]
