"""The client's side of the connection: stay connected, hand what arrives to the inbox, acknowledge, ask about gaps."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from . import maintenance
from .api import Api
from .backoff import pause, pause_after_close
from .clock import ServerClock
from .connection import MSGPACK, Connection, Frame
from .errors import ConnectedElsewhere, Disconnected, Refused, SignedOut, Unreachable
from .events import (
    CallSignal,
    CaughtUp,
    Connected,
    ConnectionLost,
    Degraded,
    DevicesChanged,
    Live,
    Presence,
    Receipt,
    Typing,
)
from .inbox import Inbox
from .ordering import Verdict
from .outbox import Outgoing
from .partings import Partings
from .state import State
from .values import Envelope, Resolved, Sent

logger = logging.getLogger(__name__)
UNAUTHENTICATED = 4401
ELSEWHERE = 4409
STEADY_AFTER = 3.0
ASK_EVERY = 0.5
RECONNECT_WAIT = 60.0
LIVE: dict[str, type[Live]] = {
    "receipt": Receipt,
    "typing": Typing,
    "call": CallSignal,
    "presence": Presence,
    "devices_changed": DevicesChanged,
    "degraded": Degraded,
}


class Link:
    """Connected whenever it can be. `tell` hears live events; `moved` is called when the inbox may have news."""

    def __init__(
        self,
        state: State,
        api: Api,
        inbox: Inbox,
        clock: ServerClock,
        *,
        tell: Callable[[Live], None],
        moved: Callable[[], None],
        subprotocol: str = MSGPACK,
    ) -> None:
        self._state = state
        self._api = api
        self._inbox = inbox
        self._clock = clock
        self._tell = tell
        self._moved = moved
        self._subprotocol = subprotocol
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._partings = Partings()
        self._errands: set[asyncio.Task[None]] = set()
        self._topping_up = asyncio.Lock()

    async def run(self) -> None:
        """Ends only by SignedOut, ConnectedElsewhere, a damaged profile, or cancelling."""
        loop = asyncio.get_running_loop()
        attempt = refused = 0
        while True:
            began = loop.time()
            try:
                code, reason = await self._once()
                attempt = 0 if loop.time() - began > STEADY_AFTER else attempt
                refused = refused + 1 if code == UNAUTHENTICATED else 0
                await self._react(code, refused)
                wait = pause_after_close(code, attempt, reason)
            except Refused as refusal:
                wait = pause(attempt, at_least=refusal.retry_after)
            except Unreachable:
                wait = pause(attempt)
            attempt += 1
            self._tell(ConnectionLost(retry_in=round(wait, 1)))
            await asyncio.sleep(wait)

    async def connected(self) -> Connection:
        """The open connection, as soon as there is one. Disconnected after a minute without."""
        try:
            await asyncio.wait_for(self._connected.wait(), RECONNECT_WAIT)
        except TimeoutError:
            raise Disconnected from None
        if self._connection is None:
            raise Disconnected
        return self._connection

    async def send(self, outgoing: Outgoing) -> Sent:
        """Send over the socket. Refused as the server says; Disconnected when no answer comes."""
        connection = await self.connected()
        frame = {"type": "send", "conversation_id": outgoing.conversation_id} | outgoing.fields()
        return msgspec.convert(await connection.request(frame), Sent)

    async def watch(self, user_ids: list[str]) -> Presence:
        """How these people are; what changes is told as a live event. Refused, or Disconnected."""
        connection = await self.connected()
        answer = await connection.request({"type": "presence", "user_ids": user_ids})
        return msgspec.convert(answer, Presence)

    async def say_typing(self, conversation_id: str, *, active: bool) -> None:
        """Let the others know that one types. Nothing while there is no connection."""
        if self._connection is not None:
            with contextlib.suppress(Disconnected):
                await self._connection.post({"type": "typing", "conversation_id": conversation_id, "active": active})

    async def signal_call(self, frame: Frame) -> None:
        """Pass a call signal on. Disconnected when there is no connection."""
        await (await self.connected()).post({"type": "call"} | frame)

    async def read(self, conversation_id: str, seq: int) -> None:
        """Tell the server that this was read, now or at the next connection."""
        with self._state.transaction() as db:
            db.execute(
                "INSERT INTO conversations (conversation_id, read_seq) VALUES (?, ?)"
                " ON CONFLICT (conversation_id) DO UPDATE SET read_seq = max(read_seq, excluded.read_seq)",
                (conversation_id, seq),
            )
        if self._connection is not None:
            with contextlib.suppress(Disconnected):
                await self._send_reads(self._connection)

    async def _once(self) -> tuple[int | None, str]:
        """One connection from beginning to end; the close code and its reason tell why it ended."""
        token = await self._api.access_token()
        try:
            connection = await Connection.opened(self._api.socket_url, token, subprotocol=self._subprotocol)
        except Refused as refusal:
            if refusal.code not in ("INVALID_TOKEN", "UNAUTHORIZED"):
                raise
            return UNAUTHENTICATED, ""
        try:
            await self._serve(connection)
        except Disconnected:
            return connection.close_code, connection.close_reason
        finally:
            self._connection = None
            self._connected.clear()
            await self._stop_errands()
            await connection.close()
        return connection.close_code, connection.close_reason

    async def _serve(self, connection: Connection) -> None:
        self._clock.set(connection.ready.server_time)
        self._connection = connection
        self._partings.connected()
        self._connected.set()
        self._tell(Connected())
        await self._send_reads(connection)
        self._errand(self._look_after_keys())
        self._errand(self._ask_about_gaps(connection))
        while frames := await connection.next_frames():
            await self._take(connection, frames)

    async def _react(self, code: int | None, refused: int) -> None:
        """A closed socket may mean that the token was revoked: then a refresh tells whether the device still is welcome."""
        if code == ELSEWHERE:
            raise ConnectedElsewhere
        if code == UNAUTHENTICATED:
            if refused > 2:
                raise SignedOut
            await self._api.access_token(other_than=self._state.fact("access_token"))

    async def _take(self, connection: Connection, frames: list[Frame]) -> None:
        envelopes = [envelope for frame in frames if (envelope := _envelope(frame)) is not None]
        if envelopes:
            self._inbox.receive(envelopes, asyncio.get_running_loop().time())
            await self._acknowledge(connection, [envelope.message_id for envelope in envelopes])
            self._moved()
        for frame in frames:
            self._notice(connection, frame)

    def _notice(self, connection: Connection, frame: Frame) -> None:
        if frame["type"] == "queue_empty":
            self._partings.caught_up()
            self._errand(self._catch_up(connection))
        if frame["type"] == "prekeys_low":
            self._errand(self._top_up())
        kind = LIVE.get(frame["type"])
        if kind is not None:
            with contextlib.suppress(msgspec.ValidationError):
                self._tell(msgspec.convert(frame | {"type": kind.__struct_config__.tag}, kind))

    async def _acknowledge(self, connection: Connection, message_ids: list[str]) -> None:
        await connection.post({"type": "ack", "message_ids": message_ids})

    async def _send_reads(self, connection: Connection) -> None:
        rows = self._state.db.execute(
            "SELECT conversation_id, read_seq FROM conversations WHERE read_seq > 0"
        ).fetchall()
        for conversation_id, seq in rows:
            await connection.post({"type": "read", "conversation_id": conversation_id, "seq": seq})
            self._state.db.execute(
                "UPDATE conversations SET read_seq = 0 WHERE conversation_id = ? AND read_seq = ?",
                (conversation_id, seq),
            )

    async def _ask_about_gaps(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for conversation_id, first, last in self._inbox.questions(loop.time()):
                await self._resolve(connection, conversation_id, first, last)
            await asyncio.sleep(ASK_EVERY)

    async def _catch_up(self, connection: Connection) -> None:
        """All that was committed has been sent, so a gap that is left now needs no five seconds."""
        for conversation_id, first, last in self._inbox.questions(asyncio.get_running_loop().time(), at_once=True):
            await self._resolve(connection, conversation_id, first, last)
        self._tell(CaughtUp())

    async def _resolve(self, connection: Connection, conversation_id: str, first: int, last: int) -> None:
        try:
            query = {"from": first, "to": last}
            answer = await self._api.call("GET", f"conversations/{conversation_id}/resolve", _Resolution, query=query)
            items = answer.items
            self._partings.admitted(conversation_id)
        except Refused as refusal:
            if refusal.code != "NOT_FOUND":
                return
            items = self._of_a_former_member(connection, conversation_id, first, last)
        except Unreachable:
            return
        kept = self._inbox.answers(conversation_id, items, asyncio.get_running_loop().time())
        if kept:
            await self._acknowledge(connection, kept)
        self._moved()

    def _of_a_former_member(
        self, connection: Connection, conversation_id: str, first: int, last: int
    ) -> tuple[Resolved, ...]:
        """What was said before one left is waited for as long as it may come; after a while a new connection is to tell."""
        is_over = self._partings.refused(conversation_id)
        if not is_over and self._inbox.asked_enough(conversation_id) and self._partings.only_a_new_connection_tells:
            connection.hang_up()
        state = Verdict.NOT_FOR_YOU if is_over else Verdict.COMMITTED
        return tuple(Resolved(seq=seq, state=state) for seq in range(first, last + 1))

    async def _look_after_keys(self) -> None:
        async with self._topping_up:
            with contextlib.suppress(Unreachable):
                await maintenance.look_after_keys(self._state, self._api)

    async def _top_up(self) -> None:
        """Asked several times at once it tops up once: what each of them said is left is not true any more."""
        if not self._topping_up.locked():
            async with self._topping_up:
                with contextlib.suppress(Unreachable, Refused):
                    await maintenance.top_up_prekeys(self._state, self._api)

    def _errand(self, errand: Any) -> None:
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """An errand that failed must not leave gaps unasked: a new connection starts all of them again."""
        self._errands.discard(task)
        if task.cancelled() or (problem := task.exception()) is None:
            return
        logger.warning("An errand ended by %s; connecting again.", type(problem).__name__)
        if self._connection is not None:
            self._connection.hang_up()

    async def _stop_errands(self) -> None:
        errands = list(self._errands)
        for task in errands:
            task.cancel()
        await asyncio.gather(*errands, return_exceptions=True)


class _Resolution(msgspec.Struct):
    items: tuple[Resolved, ...] = ()


def _envelope(frame: Frame) -> Envelope | None:
    if frame["type"] != "envelope":
        return None
    try:
        return msgspec.convert(frame, Envelope)
    except msgspec.ValidationError:
        # What is no envelope cannot be placed; it stays un-acknowledged and the server will mark it.
        return None
