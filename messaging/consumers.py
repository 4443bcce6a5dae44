"""DeviceConsumer: one connected device. The edge: bytes in, verbs called, bytes out.

It replaces two things of Channels' consumer on purpose: the wait over several sources (hints come by call, see `layer`), and the hop to a thread
that Channels makes before every handler to close old database connections (this road uses none of Django's).
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from accounts import clocks
from accounts.wire.refusals import ChatError, InvalidRequest, InvalidToken, StorageUnavailable
from devices.current import CurrentDevice
from messaging import close_codes, frames, handshakes, hints, sessions, window
from messaging.buckets import TokenBuckets
from messaging.counts import counts
from messaging.envelopes import Call, Close, Envelope, Hint, Notice, Receipt
from messaging.frames import CODECS, JSON, AnyClientFrame, AuthenticateFrame, BadFrame, NotAFrame
from messaging.hearing import Hearing
from messaging.mailboxes import Delivery
from messaging.pauses import about, end_all, is_set_within
from messaging.runtime import Runtime, running
from messaging.sessions import Session
from messaging.window import NotKeepingUp
from messaging.writer import SocketWriter

logger = logging.getLogger(__name__)

AUTHENTICATE_SECONDS = 5.0
BAD_FRAMES = 3
CHECK_SECONDS = 30.0
# When PostgreSQL gave no answer.
CHECK_AGAIN_SECONDS = 10.0


class DeviceConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One socket. Until `_session` is set it may only authenticate."""

    def __init__(self) -> None:
        super().__init__()
        self._codec = CODECS[JSON]
        self._session: Session | None = None
        self._delivery: Delivery | None = None
        self._hearing: Hearing | None = None
        self._listening: hints.Listening | None = None
        self._runtime: Runtime | None = None
        self._bad_frames = 0
        self._ended_with = close_codes.WENT_AWAY
        self._is_leaving = False
        self._is_cut = False
        self._task: asyncio.Task[Any] | None = None
        self._is_doubtful = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._limit = TokenBuckets(
            rate=settings.LIMITS["FRAMES_PER_SECOND"][0], burst=settings.LIMITS["FRAMES_BURST"][0]
        )
        self._writer = SocketWriter(self._send_bytes, self.close, self._cut)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send = send
        self._task = asyncio.current_task()
        try:
            while True:
                message = await receive()
                match message["type"]:
                    case "websocket.receive":
                        await self._received(message)
                    case "websocket.connect":
                        if not await self._connect():
                            return
                    case "websocket.disconnect":
                        self._ended_with = message.get("code") or self._ended_with
                        return
        except asyncio.CancelledError:
            if not self._is_cut:
                raise
        finally:
            await self._end()

    def _cut(self) -> None:
        """End without a word: its client takes nothing any more."""
        self._is_cut = True
        if self._task is not None:
            self._task.cancel()

    async def _connect(self) -> bool:
        """Accept the socket, or refuse the handshake with its HTTP status."""
        try:
            handshake = await handshakes.check(self.scope)
        except handshakes.Refused as refused:
            await refused.answer(self.base_send)
            return False
        self._codec = CODECS[handshake.codec]
        await self.accept(handshake.subprotocol)
        self._tasks.append(asyncio.create_task(self._write()))
        if handshake.device is not None:
            await self._begin(handshake.device, None)
        else:
            self._tasks.append(asyncio.create_task(self._expect_authentication()))
        return True

    async def _end(self) -> None:
        if self._listening is not None:
            self._listening.stop()
        if self._runtime is not None:
            self._runtime.sockets.discard(self)
            if self._session is not None:
                self._runtime.online.went(self._session)
            counts.close(self._writer.closing_code or self._ended_with)
        errands = self._hearing.errands if self._hearing is not None else set()
        try:
            await end_all({*self._tasks, *errands})
        finally:
            if self._hearing is not None:
                self._hearing.end()

    async def _write(self) -> None:
        try:
            await self._writer.run()
        except (OSError, RuntimeError):
            # The socket is gone; its `disconnect` is on the way.
            logger.debug("a socket went away while it was written to")

    async def _send_bytes(self, frame: bytes) -> None:
        if self._codec.is_text:
            await self.base_send({"type": "websocket.send", "text": frame.decode()})
        else:
            await self.base_send({"type": "websocket.send", "bytes": frame})

    def _put(self, frame: frames.ServerFrame | dict[str, Any]) -> None:
        self._writer.put(self._codec.encode(frame))

    def _refuse(self, refusal: ChatError, ref: str | None = None) -> None:
        self._put(frames.error_frame(refusal, ref))

    # --- authentication --------------------------------------------------------------------------------------------------------

    async def _expect_authentication(self) -> None:
        await asyncio.sleep(AUTHENTICATE_SECONDS)
        if self._session is None:
            self._writer.close(close_codes.UNAUTHENTICATED)

    async def _authenticate(self, frame: AuthenticateFrame) -> None:
        try:
            device = await handshakes.verify(frame.access_token)
        except (InvalidToken, StorageUnavailable) as refusal:
            self._give_up(refusal, frame.ref)
        else:
            await self._begin(device, frame.ref)

    def _give_up(self, refusal: ChatError, ref: str | None) -> None:
        self._refuse(refusal, ref)
        self._writer.close(
            close_codes.UNAUTHENTICATED if isinstance(refusal, InvalidToken) else close_codes.TRY_AGAIN_LATER
        )

    async def _begin(self, device: CurrentDevice, ref: str | None) -> None:
        """The socket belongs to the device now: older sockets of it close, and what waits for it is drained."""
        try:
            session = await sessions.open_session(
                device.user_id, device.device_id, device.device_number, device.registration_id
            )
        except (InvalidToken, StorageUnavailable) as refusal:
            self._give_up(refusal, ref)
            return
        self._runtime = await running()
        self._runtime.sockets.add(self)
        counts.opened += 1
        self._session = session
        self._delivery = Delivery(
            session,
            store=self._runtime.store,
            acks=self._runtime.acks,
            send=self._deliver,
            queue_empty=partial(self._put, frames.QueueEmptyFrame()),
            hints_arrive=lambda: hints.layer().up,
            crowd=partial(len, self._runtime.sockets),
        )
        self._hearing = Hearing(session, self._runtime, self._delivery, self._put)
        self._put(self._ready(session, ref))
        if self._runtime.condition.away:
            self._put(frames.DegradedFrame(stores=self._runtime.condition.away))
        if session.wants_prekeys:
            self._put(frames.PrekeysLowFrame(count=0, pq_count=0))
        hints.close(session.device_id, Close(close_codes.CONNECTED_ELSEWHERE, session.conn_id))
        groups = hints.groups_of(session.device_id, session.user_id)
        self._listening = hints.Listening(groups, self._on_hint, self._delivery.subscribed)
        self._listening.start()
        self._runtime.online.came(session)
        self._tasks.append(asyncio.create_task(self._drain(self._delivery)))
        self._tasks.append(asyncio.create_task(self._check_session(session)))

    def _ready(self, session: Session, ref: str | None) -> frames.ReadyFrame:
        return frames.ReadyFrame(
            ref=ref,
            user_id=session.user_id,
            device_id=str(session.device_id),
            server_time=frames.wire_time(clocks.now_ms()),
            window=frames.Window(window.ENVELOPES, window.BYTES),
        )

    # --- what the server has for the device ------------------------------------------------------------------------------------

    async def _drain(self, delivery: Delivery) -> None:
        try:
            await delivery.run()
        except NotKeepingUp as behind:
            await delivery.gaps.stuck_at(behind.head)
            self._leave(close_codes.NOT_KEEPING_UP)
        except Exception:
            # Without its drain loop a socket would look alive and get nothing: better it comes back.
            logger.exception("a drain failed")
            self._leave(close_codes.TRY_AGAIN_LATER)

    def _deliver(self, envelopes: Sequence[Envelope]) -> None:
        counts.delivered += len(envelopes)
        for envelope in envelopes:
            self._put(frames.envelope_frame(envelope))

    def _on_hint(self, hint: Hint) -> None:
        if self._session is None or self._delivery is None or self._runtime is None:
            return
        if hint.close is not None:
            self._heed(hint.close, self._session)
            return
        if hint.envelopes:
            self._delivery.hinted(hint.envelopes)
        if hint.look:
            self._delivery.look()
        if hint.except_device != self._session.device_id:
            for notice in self._runtime.told_receipts.tell_once(self._session.device_id, hint.notices):
                self._notify(notice)

    def _notify(self, notice: Notice) -> None:
        frame = self._codec.encode(frames.notice_frame(notice))
        if isinstance(notice, Call):
            self._writer.put_passing(frame)
        elif isinstance(notice, Receipt):
            # Thousands may come at once, when a large group has been away.
            self._writer.put_if_room(frame)
        else:
            self._writer.put(frame)

    def _heed(self, close: Close, session: Session) -> None:
        """A newer socket's number speaks for itself; that the device is revoked is looked up, because an old hint can be published again."""
        if close.before is None:
            self._is_doubtful.set()
        elif close.before > session.conn_id:
            self._leave(close.code)

    async def _check_session(self, session: Session) -> None:
        """Close the socket of a device that is revoked or connected elsewhere, also when no hint said so; ask for the prekeys of a new era."""
        pause = CHECK_SECONDS
        while True:
            await is_set_within(self._is_doubtful, about(pause))
            self._is_doubtful.clear()
            try:
                standing = await sessions.standing(session)
            except StorageUnavailable:
                pause = CHECK_AGAIN_SECONDS
                continue
            pause = CHECK_SECONDS
            if standing.closing_code is not None:
                self._leave(standing.closing_code)
            elif standing.wants_prekeys:
                self._put(frames.PrekeysLowFrame(count=0, pq_count=0))

    def _leave(self, code: int, reason: str = "") -> None:
        """Close the socket, and be nobody's ears from now on: a dead connection takes its time to close, and its device may be elsewhere."""
        self._writer.close(code, reason)
        if self._listening is not None:
            self._listening.stop()

    # --- what concerns all sockets of the process ------------------------------------------------------------------------------

    def tell(self, frame: frames.ServerFrame) -> None:
        self._put(frame)

    async def leave(self, *, absence_ms: int) -> None:
        """What the device says from now on is not heard, so that it says it again elsewhere; what it has asked is answered first."""
        self._is_leaving = True
        if self._hearing is not None:
            await self._hearing.all_answered()
        self._leave(close_codes.SERVICE_RESTART, f"retry_after_ms={absence_ms}")

    # --- what the device says --------------------------------------------------------------------------------------------------

    async def _received(self, message: dict[str, Any]) -> None:
        if self._writer.is_closing or self._is_leaving:
            return
        data = message.get("text") if self._codec.is_text else message.get("bytes")
        if data is None:
            self._writer.close(close_codes.UNSUPPORTED_DATA)
            return
        if self._limit.take(None):
            self._writer.close(close_codes.TOO_FAST)
            return
        try:
            frame = self._codec.parse(data)
        except NotAFrame:
            self._count_bad_frame()
        except BadFrame as bad:
            self._refuse_bad_frame(bad)
        else:
            await self._handle(frame)

    def _count_bad_frame(self) -> None:
        self._bad_frames += 1
        if self._bad_frames >= BAD_FRAMES:
            self._writer.close(close_codes.PROTOCOL_ERROR)
        elif self._session is None:
            self._writer.close(close_codes.UNAUTHENTICATED)
        else:
            self._refuse(InvalidRequest("A frame is a map with a string `type`."))

    def _refuse_bad_frame(self, bad: BadFrame) -> None:
        self._refuse(bad.refusal, bad.ref)
        if self._session is None:
            self._writer.close(close_codes.UNAUTHENTICATED)

    async def _handle(self, frame: AnyClientFrame) -> None:
        if self._hearing is None:
            if isinstance(frame, AuthenticateFrame):
                await self._authenticate(frame)
            else:
                self._writer.close(close_codes.UNAUTHENTICATED)
            return
        await self._hearing.hear(frame)
