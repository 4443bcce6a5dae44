"""Redis between simulated processes: hints that come late, twice, in another order, or not at all, and say `up` when they come."""

import asyncio
from collections.abc import Callable

from messaging.layer import TICK_SECONDS, TICKS_MISSED
from tests.faults.simulation.network import Network

Listener = Callable[[bytes], None]
Confirmed = Callable[[], None]


class Bus:
    """One Redis."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ends: list[BusEnd] = []

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """The process of this loop is gone."""
        self.ends = [end for end in self.ends if end._loop is not loop]

    def go_down(self) -> None:
        """Afterwards nothing arrives. Each process notices when its ticks stay away."""
        self.network.hints_are_down = True
        for end in self.ends:
            end.notice_later(TICK_SECONDS * TICKS_MISSED, up=False)

    def come_back(self) -> None:
        self.network.hints_are_down = False
        for end in self.ends:
            end.notice_later(self.network.between(0, TICK_SECONDS), up=True)


class BusEnd:
    """One process' channel layer, as much of it as `messaging.hints` uses."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[str, list[tuple[Listener, Confirmed]]] = {}
        self._subscribed: set[str] = set()
        self.up = not bus.network.hints_are_down
        self._has_dropped = False
        bus.ends.append(self)

    def listen(self, group: str, listener: Listener, confirmed: Confirmed) -> None:
        self._listeners.setdefault(group, []).append((listener, confirmed))
        if self.up:
            self._loop.call_later(self._bus.network.to_redis(), self._subscribe, group)

    def _subscribe(self, group: str) -> None:
        if self._bus.network.hints_are_down or group not in self._listeners:
            return
        self._subscribed.add(group)
        self._loop.call_later(self._bus.network.to_redis(), self._confirm, group)

    def _confirm(self, group: str) -> None:
        for _, confirmed in tuple(self._listeners.get(group, ())):
            confirmed()

    def unlisten(self, group: str, listener: Listener) -> None:
        left = [pair for pair in self._listeners.get(group, []) if pair[0] != listener]
        if left:
            self._listeners[group] = left
        elif self._listeners.pop(group, None) is not None:
            self._subscribed.discard(group)

    def publish(self, group: str, payload: bytes) -> None:
        """Never raises, never waits. What Redis does not take is made up for once it is back: everybody looks."""
        network = self._bus.network
        if network.hints_are_down:
            self._has_dropped = True
            return
        for end in self._bus.ends:
            if end is not self and not network.happens(network.lost_hints):
                self._send(end, group, payload)
                if network.happens(network.doubled_hints):
                    self._send(end, group, payload)

    def _send(self, end: "BusEnd", group: str, payload: bytes) -> None:
        end._loop.call_later(2 * self._bus.network.to_redis(), end._arrive, group, payload)

    def _arrive(self, group: str, payload: bytes) -> None:
        if group in self._subscribed:
            for listener, _ in tuple(self._listeners.get(group, ())):
                listener(payload)

    def notice_later(self, seconds: float, *, up: bool) -> None:
        self._loop.call_later(seconds, self._notice, up)

    def _notice(self, up: bool) -> None:  # noqa: FBT001  (a callback)
        """Hints have stopped or come back: either way some may have been missed, by everybody whom this process could not tell too."""
        if up == self._bus.network.hints_are_down or up == self.up:
            return
        self.up = up
        self._subscribed = set(self._listeners) if up else set()
        self._everybody_looks()
        if up and self._has_dropped:
            self._has_dropped = False
            for end in self._bus.ends:
                end._loop.call_later(2 * self._bus.network.to_redis(), end._everybody_looks)

    def _everybody_looks(self) -> None:
        for group in tuple(self._listeners):
            self._confirm(group)

    async def close(self) -> None:
        self._listeners.clear()
        self._subscribed.clear()
        if self in self._bus.ends:
            self._bus.ends.remove(self)
