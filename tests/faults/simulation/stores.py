"""The message store behind a network: the memory store that passes the contract, reached late, in pieces, or not at all."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from conversations.allocation import Newest
from conversations.entries import LogEntry
from messaging.envelopes import Ack, Cursor, Envelope, Heartbeat, Mailbox, Page
from messaging.store.protocol import Pruned, StoreUnavailable
from tests.faults.simulation.network import Network
from tests.faults.simulation.stamped import Rows
from tests.faults.simulation.time_of_its_own import SimulatedLoop

TIMEOUT_SECONDS = 2.0
# A write that was given up may still arrive for so long.
LATEST_SECONDS = 8.0


class DistantStore:
    """MessageStore for one process. The rows are in `kept`, which all processes share; `loop` is the store's own."""

    def __init__(self, kept: Rows, loop: SimulatedLoop, network: Network) -> None:
        self.kept = kept
        self._loop = loop
        self._network = network

    async def open(self) -> None:
        await self._asked(self.kept.open)

    async def close(self) -> None:
        pass

    async def probe(self) -> None:
        await self._asked(self.kept.probe)

    async def deposit(self, entries: Sequence[LogEntry]) -> None:
        """Row by row, as a cluster takes it: each has its own way there, and what is given up may be half done or be done late."""
        pieces = [
            msgspec.structs.replace(entry, recipients=(recipient,))
            for entry in entries
            for recipient in entry.recipients
        ] + [entry for entry in entries if not entry.recipients]
        await self._written([lambda piece=piece: self.kept.deposit([piece]) for piece in pieces])  # type: ignore[misc]

    async def acknowledge(self, acks: Sequence[Ack]) -> None:
        await self._written([lambda ack=ack: self.kept.acknowledge([ack]) for ack in acks])  # type: ignore[misc]

    async def move_cursor(self, mailbox: Mailbox, cursor: Cursor, *, now_ms: int) -> None:
        await self._written([lambda: self.kept.move_cursor(mailbox, cursor, now_ms=now_ms)])

    async def beat(self, heartbeat: Heartbeat, *, now_ms: int) -> None:
        await self._written([lambda: self.kept.beat(heartbeat, now_ms=now_ms)])

    async def pending(
        self, mailbox: Mailbox, *, since: Cursor, now_ms: int, page: bytes | None = None, limit: int = 256
    ) -> Page:
        found: Page = await self._asked(
            lambda: self.kept.pending(mailbox, since=since, now_ms=now_ms, page=page, limit=limit)
        )
        return found

    async def cursor(self, mailbox: Mailbox) -> Cursor:
        found: Cursor = await self._asked(lambda: self.kept.cursor(mailbox))
        return found

    async def history(self, reader: Mailbox, conversation_id: Any, *, from_seq: int, to_seq: int) -> list[Envelope]:
        found: list[Envelope] = await self._asked(
            lambda: self.kept.history(reader, conversation_id, from_seq=from_seq, to_seq=to_seq)
        )
        return found

    async def acknowledged(self, reader: Mailbox, entries: Sequence[LogEntry]) -> set[int]:
        found: set[int] = await self._asked(lambda: self.kept.acknowledged(reader, entries))
        return found

    async def newest(self, conversation_id: Any, *, at_least: int) -> Newest:
        found: Newest = await self._asked(lambda: self.kept.newest(conversation_id, at_least=at_least))
        return found

    async def prune(self, *, now_ms: int, page: bytes | None = None, size: int = 16) -> Pruned:
        found: Pruned = await self._asked(lambda: self.kept.prune(now_ms=now_ms, page=page, size=size))
        return found

    async def heartbeat(self) -> Heartbeat | None:
        found: Heartbeat | None = await self._asked(self.kept.heartbeat)
        return found

    async def _asked(self, read: Callable[[], Awaitable[Any]]) -> Any:
        """What a read finds at some moment between question and answer."""
        asking = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = asking.create_future()

        def arrive() -> None:
            way_back = self._network.to_store() * self._network.slow_answers
            asking.call_later(way_back, _resolve, answer, _value(read()))

        self._send(arrive)
        return await self._within_time(answer)

    async def _written(self, writes: Sequence[Callable[[], Awaitable[None]]]) -> None:
        asking = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = asking.create_future()
        missing = len(writes)
        written_ns = time.time_ns()

        def arrive(write: Callable[[], Awaitable[None]]) -> None:
            nonlocal missing
            self.kept.written_ns = written_ns
            _value(write())
            missing -= 1
            if not missing:
                asking.call_later(self._network.to_store(), _resolve, answer, None)

        for write in writes:
            self._send(lambda write=write: arrive(write), is_write=True)  # type: ignore[misc]
        await self._within_time(answer)

    def _send(self, arrive: Callable[[], None], *, is_write: bool = False) -> None:
        if not self._network.store_is_down and not self._network.happens(self._network.store_fails):
            self._loop.call_later(self._network.to_store(), arrive)
        elif is_write and self._network.happens(0.5):
            self._loop.call_later(self._network.between(0.0, LATEST_SECONDS), arrive)

    async def _within_time(self, answer: "asyncio.Future[Any]") -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await answer
        except TimeoutError:
            raise StoreUnavailable from None


def _resolve(answer: "asyncio.Future[Any]", value: Any) -> None:
    if not answer.done():
        answer.set_result(value)


def _value(work: Awaitable[Any]) -> Any:
    """The memory store never waits: its coroutines end at their first step."""
    try:
        work.send(None)  # type: ignore[attr-defined]
    except StopIteration as ended:
        return ended.value
    raise AssertionError("the memory store has waited")
