"""Group commit: sends that arrive while a commit is in flight ride together in the next one.

A queue per conversation keeps order. While another process holds a conversation's row, its whole queue waits in front, in order, and no other
conversation notices; held for too long, it gets a waiting transaction of its own, and the batcher leaves it alone until that one has ended.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

from accounts.wire.refusals import ChatError, RetryInOrder, StorageUnavailable
from conversations.catching_up import catch_up
from conversations.entries import LogEntry
from conversations.planning import is_resendable, refuse_all
from conversations.sends import Committed, Send, Sent, Skipped
from messaging.counts import counts

logger = logging.getLogger(__name__)

LARGEST_BATCH = 100
LARGEST_BATCH_BYTES = 1024 * 1024
# A send leaves the queue unanswered by PostgreSQL after so long; nothing was stored.
QUEUE_SECONDS = 4.0
# Nobody waits longer than this for an outcome. After it a send may still be committed; sending it again tells.
ANSWER_SECONDS = 4.6
WATCH_SECONDS = 0.2
# A conversation found locked for so long gets a transaction that waits for the row.
PATIENCE_SECONDS = 0.5
SKIP_PAUSE_SECONDS = 0.005
MOST_WAITING = 4
# At most so many conversations catch up with their store at once; after a store that did not answer, a pause of so long.
MOST_CATCHING_UP = 4
CATCH_UP_PAUSE_SECONDS = 0.5

Outcome = Sent | Exception
Key = tuple[UUID, int, UUID]
Append = Callable[..., Awaitable[Committed]]


class _Queued:
    """One send in the queue, and everybody who waits for its outcome."""

    __slots__ = ("answer", "send", "since")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.since = asyncio.get_running_loop().time()
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def resolve(self, outcome: Outcome) -> None:
        if not self.answer.done():
            self.answer.set_result(outcome)
            _count(outcome, asyncio.get_running_loop().time() - self.since)


def _count(outcome: Outcome, seconds: float) -> None:
    if isinstance(outcome, Sent):
        counts.sent += not outcome.duplicate
        counts.repeated += outcome.duplicate
        counts.answer.note(seconds)
    elif isinstance(outcome, ChatError):
        counts.refuse(outcome.code)


class GroupCommit:
    """The batcher of one process. `append` commits a batch (`conversations.log.append`), `relay` takes what was committed."""

    def __init__(
        self,
        append: Append,
        relay: Callable[[Sequence[LogEntry]], None],
        catch_up: Callable[[UUID], Awaitable[None]] = catch_up,
    ) -> None:
        self._append = append
        self._relay = relay
        self._queues: OrderedDict[UUID, deque[_Queued]] = OrderedDict()
        self._held_since: dict[UUID, float] = {}
        self._waiting: set[UUID] = set()
        self._catch_up = catch_up
        self._catching_up: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing = False
        # Oldest first. One timer for all of them: a timer each would cost every send more than the queue does.
        self._unanswered: OrderedDict[Key, _Queued] = OrderedDict()
        self._watch: asyncio.TimerHandle | None = None

    def submit(self, send: Send) -> asyncio.Future[Outcome]:
        """A future of the send's outcome, which comes within ANSWER_SECONDS whatever happens.

        Sends are ordered by the order of these calls. A send with a key that has no outcome yet shares that one's. Do not cancel the future:
        others may wait for it.
        """
        key = send.key
        queued = self._unanswered.get(key)
        if queued is not None and not queued.answer.done():
            return queued.answer
        queued = _Queued(send)
        self._unanswered[key] = queued
        self._unanswered.move_to_end(key)
        self._queues.setdefault(send.conversation_id, deque()).append(queued)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._answer_overdue)
        if not self._committing:
            self._committing = True
            self._start(self._commit_while_queued())
        return queued.answer

    def _answer_overdue(self) -> None:
        """Forget what has an answer; give one to what has waited too long for it."""
        late = asyncio.get_running_loop().time() - ANSWER_SECONDS
        while self._unanswered:
            key, oldest = next(iter(self._unanswered.items()))
            if not oldest.answer.done() and oldest.since > late:
                break
            oldest.resolve(StorageUnavailable())
            del self._unanswered[key]
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(WATCH_SECONDS, self._answer_overdue) if self._unanswered else None

    async def close(self) -> None:
        """Finish what is queued; afterwards nothing runs."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _commit_while_queued(self) -> None:
        try:
            while batch := self._take_batch():
                committed = await self._commit(batch, waiting=False)
                self._settle(batch, committed)
                if all(isinstance(outcome, Skipped) for outcome in committed.outcomes):
                    await asyncio.sleep(SKIP_PAUSE_SECONDS)
        finally:
            self._committing = False

    def _take_batch(self) -> list[_Queued]:
        """The heads of the queues, oldest conversation first, whole prefixes in order. Takes out what has waited too long."""
        batch: list[_Queued] = []
        size = 0
        for conversation_id in list(self._queues):
            if conversation_id in self._waiting or conversation_id in self._catching_up:
                continue
            self._expire(conversation_id)
            queue = self._queues.get(conversation_id, deque())
            # A conversation found locked is asked after with one send: its queue must not fill a batch in vain.
            most = 1 if conversation_id in self._held_since else LARGEST_BATCH
            while (
                queue
                and most
                and len(batch) < LARGEST_BATCH
                and (not batch or size + queue[0].send.size <= LARGEST_BATCH_BYTES)
            ):
                size += queue[0].send.size
                most -= 1
                batch.append(queue.popleft())
            if queue:
                self._queues.move_to_end(conversation_id)
            else:
                self._queues.pop(conversation_id, None)
            if len(batch) >= LARGEST_BATCH or size >= LARGEST_BATCH_BYTES:
                break
        return batch

    def _expire(self, conversation_id: UUID) -> None:
        queue = self._queues[conversation_id]
        late = asyncio.get_running_loop().time() - QUEUE_SECONDS
        while queue and queue[0].since < late:
            expired = queue.popleft()
            expired.resolve(StorageUnavailable())
            self._fail_chain(expired.send)
        # Failing a chain may have emptied the queue, and taken it out, already.
        if not queue:
            self._queues.pop(conversation_id, None)

    async def _commit(self, batch: Sequence[_Queued], *, waiting: bool) -> Committed:
        sends = [item.send for item in batch]
        try:
            committed = await self._append(sends, waiting=waiting)
        except Exception as failure:  # noqa: BLE001
            # A fault of the program, not of the database (those are outcomes). Nobody may be left without an answer, and the queue goes on.
            # The message may quote what was sent, so only its type is logged.
            logger.error("a batch of %d sends could not be decided: %s", len(batch), type(failure).__name__)
            return Committed(refuse_all(sends))
        if committed.entries:
            self._relay(committed.entries)
        return committed

    def _settle(self, batch: Sequence[_Queued], committed: Committed) -> None:
        skipped: OrderedDict[UUID, list[_Queued]] = OrderedDict()
        for item, outcome in zip(batch, committed.outcomes, strict=True):
            if isinstance(outcome, Skipped):
                skipped.setdefault(item.send.conversation_id, []).append(item)
                continue
            self._held_since.pop(item.send.conversation_id, None)
            item.resolve(outcome)
            if is_resendable(outcome):
                self._fail_chain(item.send)
        for conversation_id, items in skipped.items():
            if conversation_id in committed.behind:
                self._let_catch_up(conversation_id)
            self._put_back(conversation_id, items)

    def _let_catch_up(self, conversation_id: UUID) -> None:
        """Have the conversation's head put above what its store has; until then its queue waits. A few at once: the others are asked again."""
        if conversation_id not in self._catching_up and len(self._catching_up) < MOST_CATCHING_UP:
            self._catching_up.add(conversation_id)
            self._start(self._wait_for_catching_up(conversation_id))

    async def _wait_for_catching_up(self, conversation_id: UUID) -> None:
        try:
            await self._catch_up(conversation_id)
        except StorageUnavailable:
            await asyncio.sleep(CATCH_UP_PAUSE_SECONDS)
        finally:
            self._catching_up.discard(conversation_id)
            self._go_on(conversation_id)

    def _put_back(self, conversation_id: UUID, items: Sequence[_Queued]) -> None:
        queue = self._queues.setdefault(conversation_id, deque())
        queue.extendleft(reversed(items))
        held_since = self._held_since.setdefault(conversation_id, asyncio.get_running_loop().time())
        is_late = asyncio.get_running_loop().time() - held_since > PATIENCE_SECONDS
        # One transaction at a time: of two the later one would put its sends back in front of the earlier one's.
        is_apart = conversation_id in self._catching_up or conversation_id in self._waiting
        if is_late and not is_apart and len(self._waiting) < MOST_WAITING:
            self._waiting.add(conversation_id)
            self._start(self._commit_waiting(conversation_id))

    async def _commit_waiting(self, conversation_id: UUID) -> None:
        """Commit a held conversation's queue in a transaction that waits for the row."""
        try:
            self._expire(conversation_id)
            queue = self._queues.get(conversation_id, deque())
            batch = _prefix(queue)
            if not queue:
                self._queues.pop(conversation_id, None)
            if batch:
                self._settle(batch, await self._commit(batch, waiting=True))
        finally:
            self._waiting.discard(conversation_id)
            self._go_on(conversation_id)

    def _go_on(self, conversation_id: UUID) -> None:
        """What was set apart is asked after again, together with the others."""
        self._held_since.pop(conversation_id, None)
        if self._queues and not self._committing:
            self._committing = True
            self._start(self._commit_while_queued())

    def _fail_chain(self, failed: Send) -> None:
        """What the same device has queued behind a send it is going to repeat must not overtake it."""
        queue = self._queues.get(failed.conversation_id)
        if not queue:
            return
        behind = [item for item in queue if item.send.chain == failed.chain]
        for item in behind:
            queue.remove(item)
            item.resolve(RetryInOrder())
        if not queue:
            self._queues.pop(failed.conversation_id, None)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _prefix(queue: deque[_Queued]) -> list[_Queued]:
    """Take the first sends of a queue, as many as a batch may have: at least one."""
    batch: list[_Queued] = []
    size = 0
    while queue and len(batch) < LARGEST_BATCH and (not batch or size + queue[0].send.size <= LARGEST_BATCH_BYTES):
        size += queue[0].send.size
        batch.append(queue.popleft())
    return batch
