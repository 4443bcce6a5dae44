"""The load generator: a process of its own that loads all pairs, and counts everybody's CPU at the edges of each window.

Reads a `Load` from stdin, writes events to stdout.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop

from benchmarks import cpu
from benchmarks.events import Connected, Event, Failed, Finished, Load, Measured, Pair, Party, Warm
from benchmarks.figures import Window, percentile
from benchmarks.pairs import Codec, Counters, Fault, LoadedPair
from benchmarks.websocket import ClientSocket, OnFrames, opening

CONNECT_SECONDS = 30.0
# Longer than a socket waits before it looks at its mailbox by itself, which is how a message arrives whose hint was lost.
ARRIVE_SECONDS = 60.0
PAUSE_SECONDS = 0.02


class Generator:
    """One run under load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._codec = Codec(load.subprotocol)
        self._counters = Counters()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pairs: list[LoadedPair] = []
        self._sockets: list[ClientSocket] = []

    async def run(self) -> None:
        """Raises Fault as soon as the server breaks a promise, or the generator one of its own."""
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self._fail(str(context.get("exception") or context["message"]))
        )
        await self._connect()
        for pair in self._pairs:
            pair.start(self._load.in_flight)
        await self._pause(self._load.warm_up)
        say(Warm(self._counters.delivered))
        for _ in range(self._load.windows):
            say(Measured(await self._window()))
        await self._finish()

    async def _connect(self) -> None:
        for pair in self._load.pairs:
            loaded = LoadedPair(pair, self._codec, self._counters, size=self._load.size, fail=self._fail)
            loaded.sender, loaded.recipient = await self._open_both(pair, loaded)
            self._pairs.append(loaded)
        await self._until(
            lambda: all(pair.is_ready for pair in self._pairs), CONNECT_SECONDS, "sockets did not get ready"
        )
        say(Connected(len(self._sockets)))

    async def _open_both(self, pair: Pair, loaded: LoadedPair) -> tuple[ClientSocket, ClientSocket]:
        return (
            await self._open(pair.sender, loaded.sender_got),
            await self._open(pair.recipient, loaded.recipient_got),
        )

    async def _open(self, party: Party, on_frames: OnFrames) -> ClientSocket:
        load = self._load
        request = opening(f"{load.host}:{load.port}", "/ws", load.subprotocol, party.access_token)
        _, socket = await asyncio.get_running_loop().create_connection(
            lambda: ClientSocket(request, self._codec.opcode, on_frames, self._fail), load.host, load.port
        )
        self._sockets.append(socket)
        return socket

    async def _window(self) -> Window:
        counters = self._counters
        counters.sent_ms, counters.envelope_ms = [], []
        delivered, began, before = counters.delivered, time.perf_counter(), cpu.used(self._load.processes)
        await self._pause(self._load.seconds)
        ended, after = time.perf_counter(), cpu.used(self._load.processes)
        return Window(
            seconds=ended - began,
            messages=counters.delivered - delivered,
            accepted=len(counters.sent_ms),
            sent_p50=percentile(counters.sent_ms, 0.5),
            sent_p99=percentile(counters.sent_ms, 0.99),
            envelope_p50=percentile(counters.envelope_ms, 0.5),
            envelope_p99=percentile(counters.envelope_ms, 0.99),
            cpu=cpu.spent(before, after),
        )

    async def _finish(self) -> None:
        """Wait for what is under way: everything that was sent has to arrive."""
        for pair in self._pairs:
            pair.stop()
        try:
            await self._until(lambda: all(pair.is_quiet for pair in self._pairs), ARRIVE_SECONDS, "")
        except TimeoutError:
            lost = f"{sum(pair.missing for pair in self._pairs)} messages were lost"
            raise Fault(lost) from None
        for socket in self._sockets:
            socket.abort()
        counters = self._counters
        say(Finished(sum(pair.made for pair in self._pairs), counters.early, counters.receipts, counters.slowest_ms))

    async def _until(self, done: Callable[[], bool], seconds: float, complaint: str) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(complaint)
            await self._pause(PAUSE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        done, _ = await asyncio.wait({self._failed}, timeout=seconds)
        for failed in done:
            failed.result()

    def _fail(self, reason: str) -> None:
        if not self._failed.done():
            self._failed.set_exception(Fault(reason))


def say(event: Event) -> None:
    """Tell the coordinator."""
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.flush()


async def main() -> int:
    """Run the load that stdin asks for."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    load.processes["load"] = [os.getpid()]
    try:
        await Generator(load).run()
    except (Fault, TimeoutError, OSError) as failure:
        say(Failed(str(failure)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
