"""The ceiling of these parts: what Waypost's socket server, PostgreSQL and Valkey can do when nothing is checked and nothing is kept for later.

`python -m benchmarks.ceiling …` is a web worker that speaks just enough of the protocol for the load generator. A send becomes one row of PostgreSQL in
a group commit before it is answered; the envelope reaches the recipient's process by one pipelined publish. There are no accounts, no audience, no
idempotency, no mailbox, no drain and no receipts. Whatever a whole product costs more than this is the price of its promises.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import hiredis
import msgspec
import psycopg

from benchmarks.events import Pair, Party
from benchmarks.pairs import MSGPACK
from chatproject import serve
from chatproject.launcher.bootstrap import PYTHON

COMMAND = (str(PYTHON), "-m", "benchmarks.ceiling")
TABLE = "CREATE TABLE IF NOT EXISTS ceiling (conversation_id uuid, seq bigint, bundle bytea, PRIMARY KEY (conversation_id, seq))"
INSERT = "INSERT INTO ceiling SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::bytea[])"
LARGEST_BATCH = 100

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Addressed(msgspec.Struct):
    device_id: str
    ciphertext: bytes


class ClientFrame(msgspec.Struct):
    type: str
    conversation_id: str = ""
    client_message_id: str = ""
    messages: list[Addressed] = []


class Sent(msgspec.Struct, tag="sent", tag_field="type"):
    conversation_id: str
    client_message_id: str
    message_id: str
    seq: int


class Envelope(msgspec.Struct, tag="envelope", tag_field="type"):
    conversation_id: str
    client_message_id: str
    message_id: str
    seq: int
    ciphertext: bytes


class Queued(msgspec.Struct):
    """A send on its way to a row."""

    frame: ClientFrame
    seq: int
    answer: Callable[[bytes], None]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(ClientFrame).decode
READY, QUEUE_EMPTY = encode({"type": "ready"}), encode({"type": "queue_empty"})


class Commits:
    """Sends that arrive while a commit is in flight ride in the next one."""

    def __init__(self, committed: Callable[[list[Queued]], None]) -> None:
        self._committed = committed
        self._queue: list[Queued] = []
        self._task: asyncio.Task[None] | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None

    def add(self, queued: Queued) -> None:
        self._queue.append(queued)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._commit_while_queued())

    async def _commit_while_queued(self) -> None:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(os.environ["POSTGRES_URL"], autocommit=True)
        while self._queue:
            batch, self._queue = self._queue[:LARGEST_BATCH], self._queue[LARGEST_BATCH:]
            rows = [(UUID(item.frame.conversation_id), item.seq, item.frame.messages[0].ciphertext) for item in batch]
            await self._connection.execute(INSERT, [list(column) for column in zip(*rows, strict=True)], prepare=True)
            self._committed(batch)
        self._task = None


class Bus:
    """One pipelined connection to Valkey for publishing, one for listening; what one turn of the loop publishes goes out in one write."""

    def __init__(self, heard: Callable[[bytes, bytes], None]) -> None:
        self._heard = heard
        self._unsent: list[bytes] = []
        self._subscriber: asyncio.StreamWriter | None = None
        self._publisher: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        path = os.environ["REDIS_URL"].removeprefix("unix://").partition("?")[0]
        for name in ("_subscriber", "_publisher"):
            reader, writer = await asyncio.open_unix_connection(path)
            setattr(self, name, writer)
            self._tasks.append(asyncio.create_task(self._listen(reader)))

    def subscribe(self, device_id: bytes) -> None:
        if self._subscriber is not None:
            self._subscriber.write(_command(b"SUBSCRIBE", device_id))

    def publish(self, device_id: bytes, payload: bytes) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(_command(b"PUBLISH", device_id, payload))

    def _flush(self) -> None:
        if self._publisher is not None:
            self._publisher.write(b"".join(self._unsent))
        self._unsent.clear()

    async def _listen(self, source: asyncio.StreamReader) -> None:
        replies = hiredis.Reader()
        while data := await source.read(65_536):
            replies.feed(data)
            while (reply := replies.gets()) is not False:
                if isinstance(reply, list) and reply[0] == b"message":
                    self._heard(reply[1], reply[2])


class Ceiling:
    """One process."""

    def __init__(self) -> None:
        self._sockets: dict[bytes, Callable[[bytes], None]] = {}
        self._seqs: dict[str, int] = {}
        self._commits = Commits(self._committed)
        self._bus = Bus(self._deliver)
        self._serial = time.time_ns()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with await psycopg.AsyncConnection.connect(os.environ["POSTGRES_URL"]) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(1)")
            await connection.execute(TABLE)
        await self._bus.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": MSGPACK})
        device_id = dict(scope["headers"])[b"authorization"].partition(b" ")[2]
        frames: deque[bytes] = deque()
        wake = asyncio.Event()

        def write(frame: bytes) -> None:
            frames.append(frame)
            wake.set()

        self._sockets[device_id] = write
        self._bus.subscribe(device_id)
        writer = asyncio.create_task(_write(frames, wake, send))
        frames.extend((READY, QUEUE_EMPTY))
        wake.set()
        while (message := await receive())["type"] == "websocket.receive":
            self._received(decode(message["bytes"]), write)
        writer.cancel()

    def _received(self, frame: ClientFrame, answer: Callable[[bytes], None]) -> None:
        if frame.type != "send":
            return
        seq = self._seqs[frame.conversation_id] = self._seqs.get(frame.conversation_id, 0) + 1
        self._commits.add(Queued(frame, seq, answer))

    def _committed(self, batch: list[Queued]) -> None:
        for item in batch:
            frame = item.frame
            self._serial += 1
            message_id = str(self._serial)
            item.answer(encode(Sent(frame.conversation_id, frame.client_message_id, message_id, item.seq)))
            (addressed,) = frame.messages
            envelope = Envelope(
                frame.conversation_id, frame.client_message_id, message_id, item.seq, addressed.ciphertext
            )
            self._relay(addressed.device_id.encode(), encode(envelope))

    def _relay(self, device_id: bytes, envelope: bytes) -> None:
        if device_id in self._sockets:
            self._deliver(device_id, envelope)
        else:
            self._bus.publish(device_id, envelope)

    def _deliver(self, device_id: bytes, envelope: bytes) -> None:
        write = self._sockets.get(device_id)
        if write is not None:
            write(envelope)


def pairs(count: int) -> list[Pair]:
    """Pairs that need no accounts: the token of a device is its id."""
    parties = [Party(str(number), 1, str(number)) for number in range(1, 2 * count + 1)]
    return [
        Pair(str(uuid4()), sender, recipient) for sender, recipient in zip(parties[::2], parties[1::2], strict=True)
    ]


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


async def _write(frames: deque[bytes], wake: asyncio.Event, send: Send) -> None:
    while True:
        await wake.wait()
        wake.clear()
        while frames:
            await send({"type": "websocket.send", "bytes": frames.popleft()})


application = Ceiling()


if __name__ == "__main__":
    serve.main("benchmarks.ceiling:application")
