"""The channel layer: channels_redis' pub/sub layer, made to need Redis for nothing but reaching other processes.

A socket opens and works while Redis is down: groups are registered here at once and subscribed in the background, publishes of one turn of
the loop go out in one write and never raise, and after every (re)subscription, and after any gap, each local listener is told to look at its mailbox.

Listeners (`listen`) are called directly, without a queue and a task between: the hot road of the consumer. The rest of the layer's interface is
channels_redis' own. A channel name made by `new_channel` is local to its process.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer
from channels_redis.utils import create_pool
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from messaging.pauses import end_all

Listener = Callable[[bytes], None]
Confirmed = Callable[[], None]

# Publishing is nobody's wait: this bound only tells a silent Redis from a loop that is busy.
PUBLISH_SECONDS = 1.0
TICK_SECONDS = 1.0
TICKS_MISSED = 3
PAUSES = (0.1, 0.3, 1.0)
MOST_UNSENT = 10_000
EVERYBODY = "everybody"
FAULTS = (RedisError, OSError, TimeoutError, EOFError)


class HintLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """The layer named in settings: one `HintLoopLayer` per event loop."""

    def _get_layer(self) -> "HintLoopLayer":
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = HintLoopLayer(*self._args, **self._kwargs, channel_layer=self)
        return layer  # type: ignore[no-any-return]


class HintLoopLayer(RedisPubSubLoopLayer):  # type: ignore[misc]
    """The layer of one event loop. Only the first of the configured hosts is used."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._subscriber = Subscriber(self._shards[0].host, self._name, self._arrived)
        self._publisher = Publisher(self._shards[0].host, self._name(EVERYBODY))
        self._listeners: dict[str, list[tuple[Listener, Confirmed]]] = {}

    def _name(self, group: str) -> str:
        return f"{self.prefix}__group__{group}"

    async def new_channel(self, prefix: str = "specific.") -> str:
        channel = f"{self.prefix}{prefix}{uuid.uuid4().hex}"
        self.channels[channel] = asyncio.Queue()
        return channel

    @property
    def up(self) -> bool:
        """Whether hints of other processes are arriving at the moment."""
        return self._subscriber.up

    def listen(self, group: str, listener: Listener, confirmed: Confirmed) -> None:
        """Afterwards `listener` is called with every payload other processes publish for the group.

        `confirmed` is called when Redis has the subscription, and after each gap.
        """
        self._listeners.setdefault(group, []).append((listener, confirmed))
        self._subscriber.want(group)

    def unlisten(self, group: str, listener: Listener) -> None:
        """Undo `listen`; unsubscribes with the last listener."""
        left = [pair for pair in self._listeners.get(group, []) if pair[0] != listener]
        if left:
            self._listeners[group] = left
        elif self._listeners.pop(group, None) is not None:
            self._subscriber.forget(group)

    def publish(self, group: str, payload: bytes) -> None:
        """Have the other processes' listeners called; this process's own hear nothing of it. Never raises, never waits."""
        self._publisher.publish(self._name(group), self._subscriber.origin + payload)

    async def listened_to(self, groups: Iterable[str]) -> set[str]:
        """Those of the groups that somebody listens to in any process; none while Redis does not answer."""
        return await self._publisher.subscribed({self._name(group): group for group in groups})

    def _arrived(self, group: str | None, payload: bytes) -> None:
        """A payload from another process; or, group None, the news that something may have been missed; or, without payload, a confirmation."""
        groups = [group] if group is not None else list(self._listeners)
        for name in groups:
            for listener, confirmed in tuple(self._listeners.get(name, ())):
                if payload:
                    listener(payload)
                else:
                    confirmed()

    async def close(self) -> None:
        """Close both connections. Idempotent."""
        await self._subscriber.close()
        await self._publisher.close()


class Publisher:
    """Publishes of one turn of the loop go out in one write. While Redis does not answer they are dropped, and once it does everybody looks."""

    def __init__(self, host: dict[str, Any], everybody: str) -> None:
        self._redis = aioredis.Redis(connection_pool=create_pool(host))
        self._everybody = everybody
        self._unsent: list[tuple[str, bytes]] = []
        self._task: asyncio.Task[None] | None = None
        self._has_dropped = False

    def publish(self, channel: str, payload: bytes) -> None:
        """Queue one publish."""
        if self._has_dropped or len(self._unsent) >= MOST_UNSENT:
            self._has_dropped = True
        else:
            self._unsent.append((channel, payload))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._unsent or self._has_dropped:
                if self._has_dropped:
                    await self._make_up()
                batch, self._unsent = self._unsent, []
                if batch and not await self._send(batch):
                    self._has_dropped = True
        finally:
            self._task = None

    async def _make_up(self) -> None:
        """Publish that everybody has to look, until that succeeds: it stands for all that was dropped before."""
        while not await self._send([(self._everybody, b"look")]):
            self._unsent.clear()
            await asyncio.sleep(TICK_SECONDS)
        self._has_dropped = False

    async def _send(self, batch: list[tuple[str, bytes]]) -> bool:
        pipeline = self._redis.pipeline(transaction=False)
        for channel, payload in batch:
            pipeline.publish(channel, payload)
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await pipeline.execute()
        except FAULTS:
            return False
        return True

    async def subscribed(self, names: dict[str, str]) -> set[str]:
        """The values of those channels that have a subscriber."""
        if not names:
            return set()
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                found = await self._redis.pubsub_numsub(*names)
        except FAULTS:
            return set()
        return {value for value, (_, count) in zip(names.values(), found, strict=True) if count}

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        with contextlib.suppress(*FAULTS):
            await self._redis.aclose(close_connection_pool=True)


class Subscriber:
    """Keeps the wanted subscriptions alive on one connection, for ever; says so when something may have been missed."""

    def __init__(
        self, host: dict[str, Any], name: Callable[[str], str], arrived: Callable[[str | None, bytes], None]
    ) -> None:
        self._redis = aioredis.Redis(connection_pool=create_pool(host))
        self._name = name
        self._arrived = arrived
        self._wanted: dict[bytes, str] = {}
        self._pubsub: Any = None
        self._changed: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._sender: asyncio.Task[None] | None = None
        self._last_tick = 0.0
        # Marks what this process has published itself: its own listeners have heard it already.
        self.origin = uuid.uuid4().bytes
        self._tick_group = f"tick.{self.origin.hex()}"
        self._everybody = name(EVERYBODY).encode()

    @property
    def up(self) -> bool:
        return asyncio.get_running_loop().time() - self._last_tick < TICKS_MISSED * TICK_SECONDS

    def want(self, group: str) -> None:
        self._wanted[self._name(group).encode()] = group
        self._change(group)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._receive_for_ever()), asyncio.create_task(self._tick_for_ever())]

    def forget(self, group: str) -> None:
        self._wanted.pop(self._name(group).encode(), None)
        self._change(group)

    def _change(self, group: str) -> None:
        """Subscriptions and their ends of one turn of the loop go out together."""
        self._changed.add(group)
        self._send_soon()

    def _send_soon(self) -> None:
        if self._changed and self._sender is None and self._pubsub is not None:
            self._sender = asyncio.create_task(self._send_changes())

    async def _send_changes(self) -> None:
        try:
            while self._changed and self._pubsub is not None:
                names = {self._name(group).encode() for group in self._changed}
                self._changed.clear()
                wanted = sorted(names & self._wanted.keys())
                unwanted = sorted(names - self._wanted.keys())
                if wanted:
                    await self._pubsub.subscribe(*wanted)
                if unwanted:
                    await self._pubsub.unsubscribe(*unwanted)
        except FAULTS:
            self._pubsub = None  # the receiver notices, reconnects, and subscribes to everything wanted
        finally:
            self._sender = None

    async def _receive_for_ever(self) -> None:
        failures = 0
        while True:
            try:
                await self._receive()
                failures = 0
            except FAULTS:
                failures += 1
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES)) - 1] if failures else PAUSES[0])

    async def _receive(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            self._changed.clear()
            await pubsub.subscribe(self._name(self._tick_group).encode(), self._everybody, *self._wanted)
            self._pubsub = pubsub
            # What was wanted while Redis was being connected is not among these.
            self._send_soon()
            while self._pubsub is pubsub:
                message = await pubsub.get_message(timeout=TICK_SECONDS * TICKS_MISSED)
                if message is not None:
                    self._handle(message)
                elif not self.up:
                    raise TimeoutError
        finally:
            self._pubsub = None
            self._note_silence()
            with contextlib.suppress(*FAULTS):
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _handle(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            group = self._wanted.get(message["channel"])
            if group is not None:
                self._arrived(group, b"")
        elif message["type"] == "message":
            self._handle_payload(message["channel"], message["data"])

    def _handle_payload(self, channel: bytes, data: bytes) -> None:
        group = self._wanted.get(channel)
        if channel == self._everybody:
            self._arrived(None, b"")
        elif group is not None and data[:16] != self.origin:
            self._arrived(group, data[16:])
        elif group is None and data[:16] == self.origin:
            self._ticked()

    def _note_silence(self) -> None:
        """Hints have stopped: everybody looks now, and from now on more often than who waits for hints."""
        was_told, self._last_tick = self._last_tick > 0, 0.0
        if was_told:
            self._arrived(None, b"")

    def _ticked(self) -> None:
        """A tick came back. The first one after a silence means that hints may have been missed."""
        missed = not self.up
        self._last_tick = asyncio.get_running_loop().time()
        if missed:
            self._arrived(None, b"")

    async def _tick_for_ever(self) -> None:
        while True:
            with contextlib.suppress(*FAULTS):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._redis.publish(self._name(self._tick_group), self.origin)
            await asyncio.sleep(TICK_SECONDS)

    async def close(self) -> None:
        ending = [*self._tasks, *([self._sender] if self._sender is not None else [])]
        await end_all(set(ending))
        self._tasks = []
        with contextlib.suppress(*FAULTS):
            await self._redis.aclose(close_connection_pool=True)
