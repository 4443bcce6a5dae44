"""A device's socket, as a client of the tests sees it."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection

from accounts.ids import uuid7
from tests.cast import Installation, JsonObject, any_loopback_address, b64

PATIENCE_SECONDS = 5.0


class DeviceSocket:
    """Frames as dicts, whatever the subprotocol; answers are found by their ref, everything else is kept in order of arrival."""

    def __init__(self, connection: ClientConnection, device: Installation) -> None:
        self.connection = connection
        self.device = device
        self.unread: list[JsonObject] = []
        self._refs = 0

    @property
    def is_json(self) -> bool:
        return self.connection.subprotocol != "waypost.v1.msgpack"

    async def say(self, frame: JsonObject) -> None:
        await self.say_raw(json.dumps(frame) if self.is_json else msgspec.msgpack.encode(frame))

    async def say_raw(self, data: str | bytes) -> None:
        await self.connection.send(data)

    async def hear(self) -> JsonObject:
        """The next frame from the wire."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            data = await self.connection.recv()
        frame = json.loads(data) if isinstance(data, str) else msgspec.msgpack.decode(data)
        assert isinstance(frame, dict)
        return frame

    async def expect(self, kind: str, **fields: Any) -> JsonObject:
        """The next frame of this type with these fields; what comes before is kept in `unread`."""
        for frame in self.unread:
            if matches(frame, kind, fields):
                self.unread.remove(frame)
                return frame
        while True:
            frame = await self.hear()
            if matches(frame, kind, fields):
                return frame
            self.unread.append(frame)

    async def ask(self, frame: JsonObject) -> JsonObject:
        """The frame that answers this one."""
        self._refs += 1
        ref = f"r{self._refs}"
        await self.say(frame | {"ref": ref})
        while True:
            answer = await self.hear()
            if answer.get("ref") == ref:
                return answer
            self.unread.append(answer)

    async def envelopes(self, count: int) -> list[JsonObject]:
        """So many envelopes, acknowledged."""
        found = [await self.expect("envelope") for _ in range(count)]
        await self.ack(*found)
        return found

    async def ack(self, *envelopes: JsonObject) -> None:
        await self.say({"type": "ack", "message_ids": [envelope["message_id"] for envelope in envelopes]})

    async def closed(self) -> int:
        """The code the server closes with."""
        try:
            while True:
                self.unread.append(await self.hear())
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006

    async def nothing(self, kind: str, *, seconds: float = 0.3) -> None:
        """No frame of this type comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                frame = await self.expect(kind)
        except TimeoutError:
            return
        raise AssertionError(frame)


def matches(frame: JsonObject, kind: str, fields: dict[str, Any]) -> bool:
    return frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items())


def message(
    conversation_id: UUID | str, to: Sequence[Installation], text: bytes = b"ciphertext", **changes: Any
) -> JsonObject:
    """A `send` frame with the same ciphertext for each device."""
    return {
        "type": "send",
        "conversation_id": str(conversation_id),
        "client_message_id": str(uuid7()),
        "kind": "message",
        "messages": [
            {"device_id": other.device_id, "registration_id": other.registration_id, "ciphertext": b64(text)}
            for other in to
        ],
    } | changes


def text_of(envelope: JsonObject) -> bytes:
    ciphertext = envelope["ciphertext"]
    return ciphertext if isinstance(ciphertext, bytes) else base64.b64decode(ciphertext)


@asynccontextmanager
async def connected(
    url: str,
    device: Installation,
    *,
    subprotocol: str | None = "waypost.v1.json",
    ready: bool = True,
    authenticate: bool = True,
    **options: Any,
) -> AsyncIterator[DeviceSocket]:
    """An open socket of the device; `ready` waits until it is, `authenticate` puts the token into the header."""
    headers = {"Authorization": f"Bearer {device.access_token}"} if authenticate else {}
    connection = await websockets.connect(
        f"{url}/ws",
        subprotocols=[websockets.Subprotocol(subprotocol)] if subprotocol else None,
        additional_headers=headers | options.pop("headers", {}),
        local_addr=(any_loopback_address(), 0),
        **options,
    )
    async with connection:
        socket = DeviceSocket(connection, device)
        if ready:
            await socket.expect("ready")
        yield socket
