"""One websocket of one device: authenticated, kept alive, answers matched to what was asked."""

import asyncio
import contextlib
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from .errors import Disconnected, Refused, Unreachable
from .values import Ready

JSON = "waypost.v1.json"
MSGPACK = "waypost.v1.msgpack"
OPEN_TIMEOUT = 10.0
ANSWER_TIMEOUT = 10.0
PING_EVERY = 20.0
LARGEST_FRAME = 1 << 20
MOST_AT_ONCE = 64
Frame = dict[str, Any]


class Connection:
    """An open socket whose first answer was `ready`. Use `opened`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._binary = socket.subprotocol == MSGPACK
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._refs = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.ready: Ready

    @classmethod
    async def opened(cls, url: str, access_token: str, *, subprotocol: str = MSGPACK) -> "Connection":
        """Connect and authenticate. Unreachable when the server does not answer in time, Refused when it refuses."""
        try:
            socket = await connect(
                url,
                subprotocols=[Subprotocol(subprotocol)],
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_TIMEOUT,
                close_timeout=2,
                max_size=LARGEST_FRAME,
            )
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as error:
            raise Unreachable(f"The server's websocket cannot be reached ({type(error).__name__}).") from error  # noqa: EM102 - names the kind
        connection = cls(socket)
        connection._tasks.append(asyncio.create_task(connection._read()))
        try:
            ready = await connection.request({"type": "authenticate", "access_token": access_token})
        except BaseException:
            await connection.close()
            raise
        connection.ready = msgspec.convert(ready, Ready)
        connection._tasks.append(asyncio.create_task(connection._stay_alive()))
        return connection

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    @property
    def close_reason(self) -> str:
        return self._socket.close_reason or ""

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(Exception):
            await self._socket.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.hang_up()

    async def post(self, frame: Frame) -> None:
        """Send a frame that is answered only when refused. Disconnected when the socket is gone."""
        try:
            await asyncio.wait_for(self._socket.send(self._encode(frame)), ANSWER_TIMEOUT)
        except (ConnectionClosed, TimeoutError) as error:
            raise Disconnected from error

    async def request(self, frame: Frame) -> Frame:
        """Send a frame and wait for its answer. Refused for an `error`; Disconnected when none comes in time, or none can."""
        self._refs += 1
        ref = str(self._refs)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[ref] = answer
        try:
            await self.post(frame | {"ref": ref})
            return _not_refused(await asyncio.wait_for(answer, ANSWER_TIMEOUT))
        except TimeoutError as error:
            # Half-open, most likely. Whoever asked will ask again on the next connection.
            await self._socket.close()
            raise Disconnected from error
        finally:
            self._answers.pop(ref, None)
            if answer.done() and not answer.cancelled():
                answer.exception()

    async def next_frames(self) -> list[Frame]:
        """What arrived, at least one frame and at most a transaction's worth; none when the socket is closed."""
        frames = [await self._frames.get()]
        while len(frames) < MOST_AT_ONCE and not self._frames.empty():
            frames.append(self._frames.get_nowait())
        if frames[-1] is None:
            self._frames.put_nowait(None)
        return [frame for frame in frames if frame is not None]

    async def _read(self) -> None:
        try:
            async for raw in self._socket:
                frame = self._decode(raw)
                if frame is not None and not self._answered(frame):
                    await self._frames.put(frame)
        except ConnectionClosed:
            pass
        finally:
            self.hang_up()

    def _answered(self, frame: Frame) -> bool:
        answer = self._answers.get(str(frame.get("ref")))
        if answer is None or answer.done():
            return False
        answer.set_result(frame)
        return True

    def hang_up(self) -> None:
        """No more frames, no more answers: whoever waits is told now."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Disconnected())
        self._frames.put_nowait(None)

    async def _stay_alive(self) -> None:
        with contextlib.suppress(Disconnected):
            while True:
                await asyncio.sleep(PING_EVERY)
                with contextlib.suppress(Refused):
                    await self.request({"type": "ping"})

    def _encode(self, frame: Frame) -> bytes | str:
        return msgspec.msgpack.encode(frame) if self._binary else msgspec.json.encode(frame).decode()

    def _decode(self, raw: bytes | str) -> Frame | None:
        """A frame, or None for what is none: clients ignore what they do not know."""
        try:
            frame = msgspec.msgpack.decode(raw) if isinstance(raw, bytes) else msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return frame if isinstance(frame, dict) and isinstance(frame.get("type"), str) else None


def _not_refused(frame: Frame) -> Frame:
    if frame["type"] != "error":
        return frame
    facts = {name: value for name, value in frame.items() if name not in ("type", "ref", "error", "error_code")}
    raise Refused(str(frame.get("error_code", "UNEXPECTED")), str(frame.get("error", "")), facts=facts)
