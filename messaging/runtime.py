"""The running parts of one process: store, heart, batcher, relay, finisher, ack writer, pruner. Made when the server starts, stopped when it stops."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from django.conf import settings

from accounts import cache, durability, postgresql
from accounts import counts as account_counts
from accounts.lineage_guard import guard
from accounts.wire.refusals import StorageUnavailable
from conversations import backlog, log
from conversations.entries import LogEntry
from messaging import errands, hints, pruning, typings
from messaging.acks import Acknowledged, AckWriter
from messaging.buckets import TokenBuckets
from messaging.calls import Calls
from messaging.condition import MESSAGES, POSTGRESQL, Condition, Store
from messaging.counts import Counts, counts
from messaging.finisher import Finisher
from messaging.frames import DegradedFrame
from messaging.group_commit import GroupCommit
from messaging.heart import Heart, Misplaced
from messaging.online import Online
from messaging.pauses import end_all, for_ever, is_set_within
from messaging.presence import Presence
from messaging.probing import Prober, StoreProbes
from messaging.push.gateways import configured_gateways
from messaging.push.pusher import Pusher
from messaging.receipts import DeliveredReceipts, ToldReceipts
from messaging.relay import Relay
from messaging.sending import Sending
from messaging.sockets import OpenSockets
from messaging.store import close_message_store, local_dc, message_store
from messaging.store.observed import ObservedStore
from messaging.store.protocol import StoreUnavailable
from messaging.weights import Weights

OUTBOX_CHECK_SECONDS = 2.0
OUTBOX_SELDOM_SECONDS = 15.0
LAG_EVERY_SECONDS = 0.5
# A process that stops gives its finisher, and then what it has committed, so long; what is left is in the outbox for others.
FINISH_SECONDS = 5.0


class Runtime:
    """Everything of the hot path that lives as long as the process."""

    def __init__(self) -> None:
        self.condition = Condition(self._condition_changed)
        self._probes = StoreProbes(message_store())
        self._prober = Prober(self.condition, self._probes.by_store, self._probe_answered)
        self.store = ObservedStore(
            message_store(),
            answered=partial(self._prober.heard, MESSAGES),
            unavailable=partial(self._prober.doubt, MESSAGES),
        )
        self.heart = Heart(self.store, local_dc=local_dc())
        self.weights = Weights(self.store)
        self.pusher = Pusher(self.store, configured_gateways())
        self.relay = Relay(self.store, self._deposited, hints.publish, hints.look)
        self.commits = GroupCommit(log.append, self.relay.take)
        self.sending = Sending(self.commits)
        self.finisher = Finisher(self.relay)
        self.acks = AckWriter(self.store, self._acknowledged)
        self.delivered = DeliveredReceipts()
        self.told_receipts = ToldReceipts()
        self.sockets = OpenSockets()
        self.online = Online()
        self.presence = Presence(self.online)
        self.calls = Calls(self.pusher.call)
        self.typing_limit = typings.limit()
        self.presence_limit = TokenBuckets(
            rate=settings.LIMITS["PRESENCE_PER_SECOND"][0], burst=settings.LIMITS["PRESENCE_BURST"][0]
        )
        self.errand_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Afterwards sends are accepted. A store that is down now is tried again by whoever needs it. Raises Misplaced."""
        with contextlib.suppress(StoreUnavailable):
            await self.store.open()
        await self.heart.start()
        log.appended.connect(self._take_appended)
        postgresql.silent.connect(self._doubt_postgresql)
        await self._prober.start()
        work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "the watch of the outbox": self._watch_outbox,
            "the watch of the loop": self._watch_loop,
            "the weighing of mailboxes": self.weights.run,
            "the list of who is online": self.online.run,
            "presence": self.presence.run,
            "push": self.pusher.run,
            "the heart": self.heart.beat_for_ever,
            "pruning": partial(pruning.prune_for_ever, self.store),
            "the look at PostgreSQL's settings": durability.warn,
            "errands": partial(errands.run_for_ever, self.store, self.errand_wanted),
        }
        if settings.FINISHER_IN_WEB:
            work["the finisher"] = self.finisher.run
        self._tasks = [asyncio.create_task(for_ever(name, part)) for name, part in work.items()]

    async def stop(self) -> None:
        """Finish what is committed, as far as the store allows; what remains is in the outbox."""
        log.appended.disconnect(self._take_appended)
        postgresql.silent.disconnect(self._doubt_postgresql)
        await self._prober.stop()
        # A batch it has taken over would otherwise lie there until the lease ends.
        self.finisher.stop()
        await is_set_within(self.finisher.idle, FINISH_SECONDS)
        await end_all(set(self._tasks))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self.commits.close()
                await self.relay.drain()
                await self.acks.drain()
                await self.delivered.drain()
                await self.heart.stop()
                # It may count a large mailbox, for which nothing else waits.
                await self.weights.write(everything=True)
        await self.pusher.close()
        await self._probes.close()
        await self.online.close()
        await hints.layer().close()
        await close_message_store()
        await postgresql.close_pools()

    def _take_appended(self, *, entries: Sequence[LogEntry], **_: Any) -> None:
        self.relay.take(entries)

    def _deposited(self, entries: Sequence[LogEntry]) -> None:
        hints.publish(entries)
        self.weights.deposited(entries)
        self.pusher.deposited(entries)

    def _acknowledged(self, written: Sequence[Acknowledged]) -> None:
        self.delivered.announce(written)
        self.weights.acknowledged(written)

    def _doubt_postgresql(self, **_: Any) -> None:
        self._prober.doubt(POSTGRESQL)

    def _probe_answered(self, store: Store) -> None:
        """The relay finds out by itself that its store is back only when it has something to finish: others may be quicker, each time."""
        if store == MESSAGES:
            self.relay.store_is_down = False

    def _condition_changed(self) -> None:
        """Tell everybody who is connected. Nobody waits for a PostgreSQL that is known to be away."""
        self.sockets.tell(DegradedFrame(stores=self.condition.away))
        postgresql.pool().is_refusing = self.condition.is_away(POSTGRESQL)

    async def _watch_outbox(self) -> None:
        """Weigh the outbox: often while its store is down or it is full, seldom else (a store that is merely slow lets it grow too)."""
        while True:
            grows = self.relay.store_is_down or self.sending.outbox_is_full
            await asyncio.sleep(OUTBOX_CHECK_SECONDS if grows else OUTBOX_SELDOM_SECONDS)
            with contextlib.suppress(StorageUnavailable):
                weighed = counts.backlog = await backlog.measure()
                self.sending.outbox_is_full = (
                    weighed.rows >= settings.OUTBOX_MAX_ROWS or weighed.bytes >= settings.OUTBOX_MAX_BYTES
                )

    async def _watch_loop(self) -> None:
        """Note how late the loop comes to what is due: that is what everything here waits for that waits for nothing else."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_SECONDS
            await asyncio.sleep(LAG_EVERY_SECONDS)
            counts.lag.note(max(0.0, loop.time() - due))

    def numbers(self) -> Counts:
        """What was counted in this process, and how it is now."""
        use = postgresql.pool().use
        counts.sockets, counts.away = len(self.sockets), self.condition.away
        counts.misplaced = guard.complaint is not None
        counts.cache_hits, counts.cache_misses = dict(cache.tallies.hits), dict(cache.tallies.misses)
        counts.cache_fallbacks = dict(cache.tallies.fallbacks)
        counts.connections = {"idle": use.idle, "used": use.size - use.idle, "waiting": use.waiting}
        counts.accounts = account_counts.counts
        return counts


_running: dict[asyncio.AbstractEventLoop, Runtime] = {}


async def running() -> Runtime:
    """The running loop's runtime, started at first use."""
    loop = asyncio.get_running_loop()
    if loop not in _running:
        _running[loop] = Runtime()
        try:
            await _running[loop].start()
        except Misplaced:
            await _running.pop(loop).stop()
            raise
    return _running[loop]


def on_the_loop(work: Callable[[], None]) -> None:
    """Have `work` done by this process's loop; called from any thread. A process without sockets leaves it: sockets notice by themselves."""
    for loop in list(_running):
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(work)


def wake_errands() -> None:
    """Have the errands of this process looked after now; called from any thread."""
    for loop, runtime in list(_running.items()):
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(runtime.errand_wanted.set)


async def farewell() -> None:
    """Send the sockets of the running loop's runtime away in good order."""
    runtime = _running.get(asyncio.get_running_loop())
    if runtime is not None:
        await runtime.sockets.farewell()


async def stop() -> None:
    """Stop the running loop's runtime, if there is one."""
    runtime = _running.pop(asyncio.get_running_loop(), None)
    if runtime is not None:
        await runtime.stop()
