"""A TCP proxy whose network can be made bad: slow, narrow, cut, deaf in one direction or both, half closed, or in tiny pieces.

Proxies run on a loop in a thread of their own; their control methods may be called from any thread, and take effect on open connections too.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

CHUNK = 16 * 1024
# More than this is not held back for a slow network: then the sender waits, as it would.
MOST_HELD = 64
CONNECT_SECONDS = 5.0
START_SECONDS = 5.0

Place = Path | tuple[str, int]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Weather:
    """How the network is. Seconds and bytes per second; without `to_server` or `to_client` nothing passes that way, and waits."""

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = 0.0
    piece: int = 0
    to_server: bool = True
    to_client: bool = True


FAIR = Weather()
BLACK_HOLE = Weather(to_server=False, to_client=False)


@dataclass(eq=False)
class _Connection:
    """A client and the server's end of it."""

    client: Streams
    server: Streams
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def reset(self) -> None:
        for _, writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.family != socket.AF_UNIX:
                with suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        for task in self.tasks:
            task.cancel()

    def say_end_to_client(self) -> None:
        with suppress(OSError, RuntimeError):
            self.client[1].write_eof()


class Link:
    """One proxy: where it listens, and the weather on it."""

    def __init__(self, name: str, upstream: Place, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self.name = name
        self.host, self.port = "", 0
        self._upstream = upstream
        self._loop = loop
        self._random = Random(seed)  # noqa: S311  (a network's jitter)
        self._weather = FAIR
        self._changed = asyncio.Event()
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    # --- from any thread -------------------------------------------------------------------------------------------------------

    def set(self, weather: Weather) -> None:
        """From now on the network is like this."""
        self._call(lambda: self._become(weather))

    def clear(self) -> None:
        """A fair network again. What was held back goes on its way."""
        self.set(FAIR)

    def cut(self) -> int:
        """Reset every open connection; how many there were."""
        return self._call(self._reset_all)

    def half_close(self) -> int:
        """Tell every client that its server will say no more, and go on taking what the client says."""
        return self._call(self._half_close_all)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def _call(self, work: Callable[[], Result]) -> Result:
        async def called() -> Result:
            return work()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(START_SECONDS)

    # --- on the loop -----------------------------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, host, port, limit=CHUNK)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._reset_all()
        tasks = [task for connection in self._open for task in connection.tasks]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _become(self, weather: Weather) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    def _reset_all(self) -> int:
        for connection in self._open:
            connection.reset()
        return len(self._open)

    def _half_close_all(self) -> int:
        for connection in self._open:
            connection.say_end_to_client()
        return len(self._open)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                server = await self._connect()
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        connection = _Connection((reader, writer), server)
        self._open.add(connection)
        there = self._carry(reader, server[1], lambda weather: weather.to_server)
        back = self._carry(server[0], writer, lambda weather: weather.to_client)
        connection.tasks = [asyncio.ensure_future(there), asyncio.ensure_future(back)]
        try:
            await asyncio.wait(connection.tasks)
        finally:
            self._open.discard(connection)
            for _, end in (connection.client, connection.server):
                end.close()

    def _connect(self) -> Awaitable[Streams]:
        if isinstance(self._upstream, Path):
            return asyncio.open_unix_connection(self._upstream, limit=CHUNK)
        return asyncio.open_connection(*self._upstream, limit=CHUNK)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passes: Callable[[Weather], bool]
    ) -> None:
        """Carry one direction to its end, then tell the other side that it has ended."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_HELD)
        writing = asyncio.ensure_future(self._deliver(held, sink, passes))
        try:
            while data := await source.read(CHUNK):
                await held.put((self._loop.time() + self._delay(), data))
            await held.put((0.0, b""))
            await writing
        except OSError:
            # Who loses one side loses the other one too, as at the end of a broken cable.
            writing.cancel()
            sink.transport.abort()
        finally:
            writing.cancel()

    async def _deliver(
        self, held: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter, passes: Callable[[Weather], bool]
    ) -> None:
        with suppress(OSError, RuntimeError):
            while True:
                due, data = await held.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                while not passes(self._weather):
                    await self._changed.wait()
                if not data:
                    sink.write_eof()
                    return
                await self._write(data, sink)

    async def _write(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        weather = self._weather
        step = weather.piece or len(data)
        for start in range(0, len(data), step):
            sink.write(data[start : start + step])
            await sink.drain()
            if weather.piece:
                await asyncio.sleep(0)
        if weather.bandwidth:
            await asyncio.sleep(len(data) / weather.bandwidth)

    def _delay(self) -> float:
        weather = self._weather
        return max(0.0, weather.latency + self._random.uniform(-weather.jitter, weather.jitter))


class Proxies:
    """The proxies of one installation."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self._loop = loop
        self._seed = seed
        self.links: dict[str, Link] = {}

    def link(self, name: str, upstream: Place, *, host: str = "127.0.0.1", port: int = 0) -> Link:
        """A new proxy in front of `upstream`, a UNIX socket or (host, port), listening when this returns."""
        link = Link(name, upstream, self._loop, self._seed + len(self.links))
        self._wait(link.listen(host, port))
        self.links[name] = link
        return link

    def clear(self) -> None:
        """Fair weather everywhere."""
        for link in self.links.values():
            link.clear()

    def close(self) -> None:
        for link in self.links.values():
            self._wait(link.close())

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)


@contextmanager
def proxies(seed: int = 1) -> Iterator[Proxies]:
    """Proxies, all of which end here."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies", daemon=True)
    thread.start()
    made = Proxies(loop, seed)
    try:
        yield made
    finally:
        made.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()
