"""A websocket that can also misbehave: stop reading, read a byte a second, be cut without a word."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import cast

from benchmarks.websocket import BINARY, CLOSE, PING, PONG, TEXT, frame, parse

OnFrames = Callable[[list[bytes]], None]
OnClosed = Callable[[int | None, str], None]
BUFFER_BYTES = 65_536
SLOW_SECONDS = 1.0
CLOSING_SECONDS = 2.0
NORMAL = 1000


class Wire(asyncio.BufferedProtocol):
    """`on_frames` gets the payloads of one read; `on_closed` is called once, with the server's close code and reason, or None
    and what happened for a connection that was lost."""

    def __init__(self, request: bytes, opcode: int, on_frames: OnFrames, on_closed: OnClosed) -> None:
        self._request = request
        self._opcode = opcode
        self._on_frames = on_frames
        self._on_closed: OnClosed | None = on_closed
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._unread = b""
        self._early = b""
        self._is_open = False
        self._slow = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer[:1] if self._slow else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._unread += bytes(self._buffer[:nbytes])
        if self._slow:
            self._pause(SLOW_SECONDS)
        if self._is_open or self._opened():
            self._take_frames()

    def connection_lost(self, _error: Exception | None) -> None:
        self._end(None, "lost")

    @property
    def is_closed(self) -> bool:
        return self._on_closed is None or self._transport is None or self._transport.is_closing()

    @property
    def is_disconnected(self) -> bool:
        """Whether the connection is gone; one that the client has only forgotten is not."""
        return self._transport is not None and self._transport.is_closing()

    def send(self, payloads: Iterable[bytes]) -> None:
        """Send each payload as one frame, all in one write; before the handshake's answer it waits. Nothing happens on a closed wire."""
        data = b"".join([frame(self._opcode, payload) for payload in payloads])
        if self._is_open:
            self.send_raw(data)
        else:
            self._early += data

    def send_raw(self, data: bytes) -> None:
        """Send bytes that need be no frames."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self, code: int = NORMAL) -> None:
        """Say goodbye; the server's answer, or two seconds without one, end it."""
        self.send_raw(frame(CLOSE, code.to_bytes(2, "big")))
        asyncio.get_running_loop().call_later(CLOSING_SECONDS, self.abort)

    def abort(self) -> None:
        """Cut the connection with a reset, as a phone does that loses its network."""
        if self._transport is None:
            self._end(None, "cut")
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._transport.abort()
        self._end(None, "cut")

    def stop_reading(self) -> None:
        """Half-open from now on: what the server says is not heard any more."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def read_slowly(self) -> None:
        """A byte a second from now on."""
        self._slow = True

    def _pause(self, seconds: float) -> None:
        self.stop_reading()
        asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _opened(self) -> bool:
        answer, end, rest = self._unread.partition(b"\r\n\r\n")
        if not end:
            return False
        status = answer.partition(b"\r\n")[0].decode("latin-1")
        if " 101" not in status:
            self._end(None, status)
            self.abort()
            return False
        self._unread, self._is_open = rest, True
        self.send_raw(self._early)
        return True

    def _take_frames(self) -> None:
        frames, taken = parse(self._unread)
        self._unread = self._unread[taken:]
        payloads = []
        for opcode, payload in frames:
            if opcode in (TEXT, BINARY):
                payloads.append(payload)
            elif opcode == PING:
                self.send_raw(frame(PONG, payload))
            elif opcode == CLOSE:
                self._hand_over(payloads)
                self._closed_by_server(int.from_bytes(payload[:2], "big") or None, payload[2:].decode(errors="replace"))
                return
        self._hand_over(payloads)

    def _hand_over(self, payloads: list[bytes]) -> None:
        if payloads and self._on_closed is not None:
            self._on_frames(payloads)

    def _closed_by_server(self, code: int | None, reason: str) -> None:
        self.send_raw(frame(CLOSE, (code or NORMAL).to_bytes(2, "big")))
        self._end(code, reason)
        if self._transport is not None:
            self._transport.close()

    def _end(self, code: int | None, reason: str) -> None:
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed(code, reason)
