"""The message store's rows: the memory store, and one whose cells carry the time of whoever writes them, as a driver's own timestamps do."""

from collections.abc import Sequence

from conversations.entries import LogEntry
from messaging.envelopes import Ack, Mailbox
from messaging.store import parcels
from messaging.store.memory import MemoryStore


class Rows(MemoryStore):
    """The real memory store. `written_ns` is the writer's clock at the write that comes next; nothing depends on it."""

    def __init__(self) -> None:
        super().__init__()
        self.written_ns = 0


class StampedRows(Rows):
    """Of a row's deposit and its ack the later counts, by the clocks of who wrote them."""

    def __init__(self) -> None:
        super().__init__()
        self._deposited_ns: dict[tuple[Mailbox, int], int] = {}
        self._acked_ns: dict[tuple[Mailbox, int], int] = {}

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            for recipient in entry.recipients:
                cell = Mailbox(recipient.user_id, recipient.device_id), entry.message_id
                if self.written_ns > self._acked_ns.get(cell, self.written_ns):
                    row = self._row(cell[0], entry)
                    row.delivered, row.parcel = False, parcels.pack(parcels.header_of(entry), recipient)
                self._deposited_ns[cell] = max(self.written_ns, self._deposited_ns.get(cell, 0))
        await super().deposit(entries)

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        for ack in acks:
            cell = ack.mailbox, ack.message_id
            self._acked_ns[cell] = max(self.written_ns, self._acked_ns.get(cell, 0))
            if self.written_ns >= self._deposited_ns.get(cell, 0):
                await super().acknowledge([ack])
