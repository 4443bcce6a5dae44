"""The least a load generator needs of RFC 6455: open, send whole frames, receive whole frames.

Written out because the generator shares the cores with what it measures. Frames are masked with a key of zeros, which leaves the payload as it is
and costs the server what any other key costs it.
"""

import asyncio
import base64
import os
from collections.abc import Callable, Iterable
from typing import cast

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_FINAL = 0x80
_NO_MASK = bytes(4)

OnFrames = Callable[[list[bytes]], None]
OnEnd = Callable[[str], None]


class FragmentReceived(Exception):
    """The server sent a message in several frames, which it never does."""


class ClientSocket(asyncio.Protocol):
    """One socket. `on_frames` gets the payloads that one read brought; `on_end` why there will be no more."""

    def __init__(self, request: bytes, opcode: int, on_frames: OnFrames, on_end: OnEnd) -> None:
        self._request = request
        self._opcode = opcode
        self._on_frames = on_frames
        self._on_end = on_end
        self._unread = b""
        self._is_open = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._write(self._request)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._is_open and not self._opened():
            return
        payloads = []
        for opcode, payload in self._take_frames():
            if opcode in (TEXT, BINARY):
                payloads.append(payload)
            elif opcode == PING:
                self._write(frame(PONG, payload))
            elif opcode == CLOSE:
                self._on_end(f"closed by the server with {int.from_bytes(payload[:2], 'big')}")
        if payloads:
            self._on_frames(payloads)

    def connection_lost(self, _error: Exception | None) -> None:
        self._on_end("the connection was lost")

    def send(self, payloads: Iterable[bytes]) -> None:
        """Send each payload as one frame, all in one write."""
        self._write(b"".join([frame(self._opcode, payload) for payload in payloads]))

    def abort(self) -> None:
        """Close without a word."""
        self._on_end = _ignore
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _opened(self) -> bool:
        answer, end, rest = self._unread.partition(b"\r\n\r\n")
        if not end:
            return False
        status = answer.partition(b"\r\n")[0].decode("latin-1")
        if " 101" not in status:
            self._on_end(f"the handshake was refused: {status}")
            return False
        self._unread = rest
        self._is_open = True
        return True

    def _take_frames(self) -> list[tuple[int, bytes]]:
        frames, taken = parse(self._unread)
        self._unread = self._unread[taken:]
        return frames


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame from a client."""
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL | opcode, _FINAL | length))
    elif length < 65_536:
        head = bytes((_FINAL | opcode, _FINAL | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, _FINAL | 127)) + length.to_bytes(8, "big")
    return head + _NO_MASK + payload


def parse(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """The whole frames from a server at the beginning of `data`, and how many bytes they take."""
    frames = []
    at = 0
    while len(data) - at >= 2:
        head, length = 2, data[at + 1]
        if length >= 126:
            head = 4 if length == 126 else 10
            if len(data) - at < head:
                break
            length = int.from_bytes(data[at + 2 : at + head], "big")
        end = at + head + length
        if end > len(data):
            break
        if not data[at] & _FINAL:
            raise FragmentReceived
        frames.append((data[at] & 0x0F, data[at + head : end]))
        at = end
    return frames, at


def opening(host: str, path: str, subprotocol: str, bearer: str) -> bytes:
    """The opening request of a socket."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {subprotocol}",
        f"Authorization: Bearer {bearer}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _ignore(_reason: str) -> None:
    pass
