"""A message store that is watched: what it takes is counted, what it answers and what it does not is told to whoever wants to know how it does."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

from conversations.allocation import Newest
from conversations.entries import LogEntry
from messaging.counts import counts
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox, Page
from messaging.store.protocol import MessageStore, Pruned, StoreUnavailable

Answer = TypeVar("Answer")
Told = Callable[[], None]


class ObservedStore:
    """The same store. `answered` and `unavailable` are called after each call of the hot road; probes, heartbeats and pruning are not counted."""

    def __init__(self, store: MessageStore, *, answered: Told, unavailable: Told) -> None:
        self.kept_by = store
        self._answered, self._unavailable = answered, unavailable

    async def open(self) -> None:
        await self.kept_by.open()

    async def close(self) -> None:
        await self.kept_by.close()

    async def probe(self) -> None:
        await self.kept_by.probe()

    async def heartbeat(self) -> Heartbeat | None:
        return await self.kept_by.heartbeat()

    async def beat(self, heartbeat: Heartbeat, *, now_ms: int) -> None:
        await self.kept_by.beat(heartbeat, now_ms=now_ms)

    async def prune(self, *, now_ms: int, page: bytes | None = None, size: int = 16) -> Pruned:
        return await self.kept_by.prune(now_ms=now_ms, page=page, size=size)

    async def purge(self, mailbox: Mailbox, *, from_ms: int, until_ms: int, size: int) -> bool:
        return await self.kept_by.purge(mailbox, from_ms=from_ms, until_ms=until_ms, size=size)

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        try:
            await self._observed(self.kept_by.deposit(entries))
        except StoreUnavailable:
            counts.failed_deposits += 1
            raise
        counts.deposited += len(entries)

    async def pending(
        self, mailbox: Mailbox, *, since: Cursor, now_ms: int, page: bytes | None = None, limit: int = 256
    ) -> Page:
        return await self._observed(self.kept_by.pending(mailbox, since=since, now_ms=now_ms, page=page, limit=limit))

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        await self._observed(self.kept_by.acknowledge(acks))
        counts.acknowledged += len(acks)

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        return await self._observed(self.kept_by.cursor(mailbox))

    async def move_cursor(self, mailbox: Mailbox, cursor: Cursor, *, now_ms: int) -> None:
        await self._observed(self.kept_by.move_cursor(mailbox, cursor, now_ms=now_ms))

    async def history(self, reader: Mailbox, conversation_id: UUID, *, from_seq: int, to_seq: int) -> list[Envelope]:
        return await self._observed(self.kept_by.history(reader, conversation_id, from_seq=from_seq, to_seq=to_seq))

    async def acknowledged(self, reader: Mailbox, entries: Sequence[LogEntry]) -> set[int]:
        return await self._observed(self.kept_by.acknowledged(reader, entries))

    async def newest(self, conversation_id: UUID, *, at_least: int) -> Newest:
        return await self._observed(self.kept_by.newest(conversation_id, at_least=at_least))

    async def _observed(self, call: Awaitable[Answer]) -> Answer:
        try:
            answer = await call
        except StoreUnavailable:
            self._unavailable()
            raise
        self._answered()
        return answer
