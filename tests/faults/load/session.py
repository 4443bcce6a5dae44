"""One socket of one device: bytes to frames and back, and what became of it."""

import asyncio
import base64
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.websocket import BINARY, TEXT, opening
from tests.faults.load.wire import Wire

JSON, MSGPACK = "waypost.v1.json", "waypost.v1.msgpack"
CONNECT_SECONDS = 5.0
Frame = dict[str, Any]


class Session:
    """A socket from its opening to its end. `on_frame` gets what comes, `on_end` is called once."""

    def __init__(
        self,
        name: str,
        subprotocol: str,
        on_frame: Callable[["Session", Frame], None],
        on_end: Callable[["Session"], None],
    ) -> None:
        self.name = name
        self.is_json = subprotocol == JSON
        self.is_ready = False
        self.opened_at = 0.0
        self.code: int | None = None
        self.reason = ""
        self.by_client = False
        # What was acknowledged here. While the socket lives, the server has heard it.
        self.acknowledged: set[str] = set()
        self.heard_empty = asyncio.Event()
        self.ended = asyncio.Event()
        self._subprotocol = subprotocol
        self._on_frame = on_frame
        self._on_end = on_end
        self._wire: Wire | None = None

    async def open(self, url: str, access_token: str) -> None:
        """Connect and authenticate, by header or by frame. Raises OSError or TimeoutError; `ready` comes as a frame."""
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        # MessagePack clients authenticate by frame, so that both ways are used.
        request = opening(f"{host}:{port}", "/ws", self._subprotocol, access_token)
        if not self.is_json:
            request = _without_header(request)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.create_connection(lambda: self._made(request), host, port)
        if not self.is_json:
            self.say([{"type": "authenticate", "access_token": access_token}])

    def _made(self, request: bytes) -> Wire:
        """Frames may be heard before whoever connects is told that there is a connection."""
        self._wire = Wire(request, TEXT if self.is_json else BINARY, self._heard, self._closed)
        return self._wire

    @property
    def wire(self) -> Wire:
        assert self._wire is not None
        return self._wire

    @property
    def is_disconnected(self) -> bool:
        """Whether it was connected, and nothing of that is left."""
        return self._wire is not None and self._wire.is_disconnected

    @property
    def is_usable(self) -> bool:
        return self.is_ready and not self.ended.is_set() and not self.wire.is_closed

    def say(self, frames: Iterable[Frame]) -> None:
        """Send these in one write."""
        encode = msgspec.json.encode if self.is_json else msgspec.msgpack.encode
        self.wire.send([encode(frame) for frame in frames])

    def hang_up(self, *, cut: bool) -> None:
        """The client ends it: with a goodbye, or without."""
        if cut:
            self.cut()
            return
        self.by_client = True
        self.wire.close()

    def cut(self) -> None:
        """Whatever state it is in: no connection is left."""
        self.by_client = True
        if self._wire is not None:
            self._wire.abort()

    def forget(self) -> None:
        """The client believes it dead, though the connection stays: nothing that comes is heard any more."""
        self.by_client = True
        self.wire.stop_reading()
        self._closed(None, "forgotten")

    def _heard(self, payloads: list[bytes]) -> None:
        decode = msgspec.json.decode if self.is_json else msgspec.msgpack.decode
        for payload in payloads:
            if self.ended.is_set():
                return
            self._take(decode(payload))

    def _take(self, frame: Frame) -> None:
        if frame["type"] == "ready":
            self.is_ready, self.opened_at = True, time.monotonic()
        self._on_frame(self, frame)
        if frame["type"] == "queue_empty":
            self.heard_empty.set()

    def _closed(self, code: int | None, reason: str) -> None:
        if not self.ended.is_set():
            self.code, self.reason = code, reason
            self.ended.set()
            self._on_end(self)


def content_of(envelope: Frame) -> bytes | None:
    """What was sealed for the device, or what all recipients share."""
    return raw_bytes(envelope.get("ciphertext") or envelope.get("shared"))


def raw_bytes(value: Any) -> bytes | None:
    """Bytes as either subprotocol, or HTTP, brings them."""
    return base64.b64decode(value) if isinstance(value, str) else value


def _without_header(request: bytes) -> bytes:
    lines = request.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"authorization:"))
