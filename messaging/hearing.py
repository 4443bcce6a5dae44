"""What an authenticated device says on its socket, frame by frame: one function for each, found by the frame's type."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from accounts.wire.refusals import ChatError, Conflict, RateLimited, RetryInOrder
from conversations.sends import Send, Sender, Sent
from messaging import acks, frames, receipts, typings
from messaging.calls import Signal
from messaging.chains import Chains
from messaging.counts import counts
from messaging.envelopes import Mailbox
from messaging.frames import (
    AckFrame,
    AnyClientFrame,
    AuthenticateFrame,
    CallFrame,
    PingFrame,
    PresenceFrame,
    ReadFrame,
    SendFrame,
    TypingFrame,
)
from messaging.group_commit import Outcome
from messaging.mailboxes import Delivery
from messaging.presence import Watch
from messaging.runtime import Runtime
from messaging.sessions import Session

LARGEST_SEND = 256 * 1024
# Each may hold a connection to PostgreSQL; one socket must not keep the others from theirs.
ERRANDS_AT_ONCE = 4
# Further ones are refused: whoever waited for them would let the sends behind them wait for longer than a send may.
MOST_ERRANDS = 64
COME_AGAIN_SECONDS = 5.0

Put = Callable[[frames.ServerFrame | dict[str, Any]], None]


class Hearing:
    """One socket's ear for its device. Answers go out through `put`."""

    def __init__(self, session: Session, runtime: Runtime, delivery: Delivery, put: Put) -> None:
        self.session = session
        self.mailbox = Mailbox(session.user_id, session.device_id)
        self.runtime = runtime
        self.delivery = delivery
        self.put = put
        self.chains = Chains()
        # Work beside the frames. Whoever ends the socket ends it.
        self.errands: set[asyncio.Task[None]] = set()
        self._hands = asyncio.Semaphore(ERRANDS_AT_ONCE)
        self.unanswered: set[asyncio.Future[Outcome]] = set()
        self._watch = Watch(session.user_id, put)
        self._asking = asyncio.Lock()

    async def hear(self, frame: AnyClientFrame) -> None:
        """Do what the frame asks for, or refuse it. Returns when the next frame may be heard."""
        await _VERBS[type(frame)](self, frame)

    async def all_answered(self) -> None:
        """Return when every send that was heard has its answer."""
        if self.unanswered:
            await asyncio.wait(self.unanswered)

    async def ask_for_presence(self, user_ids: Sequence[UUID], ref: str | None) -> None:
        """Tell who of these is there, and what changes. One question after the other: the last one counts. Raises RateLimited, StorageUnavailable."""
        wait = self.runtime.presence_limit.take(self.session.device_id)
        if wait:
            raise RateLimited(retry_after=wait)
        async with self._asking:
            await self.runtime.presence.ask(self._watch, user_ids, ref)

    def end(self) -> None:
        """The socket is gone: it watches nobody."""
        self.runtime.presence.end(self._watch)

    def refuse(self, refusal: ChatError, ref: str | None) -> None:
        self.put(frames.error_frame(refusal, ref))

    def errand(self, work: Callable[[], Coroutine[Any, Any, None]], ref: str | None) -> None:
        """Do something beside the frames; what it raises is its refusal. Few are done at once, some wait, and what is too much is RATE_LIMITED."""
        if len(self.errands) >= MOST_ERRANDS:
            self.refuse(RateLimited(retry_after=COME_AGAIN_SECONDS), ref)
            return
        task = asyncio.create_task(self._refusing(work, ref))
        self.errands.add(task)
        task.add_done_callback(self.errands.discard)

    async def _refusing(self, work: Callable[[], Coroutine[Any, Any, None]], ref: str | None) -> None:
        try:
            async with self._hands:
                await work()
        except ChatError as refusal:
            self.refuse(refusal, ref)


async def _send(hearing: Hearing, frame: SendFrame) -> None:
    """Queue the send in the order the frames came; the answer is written when there is one."""
    session = hearing.session
    try:
        send = frames.to_send(frame, Sender(session.user_id, session.device_id, session.device_number))
    except ChatError as refusal:
        hearing.refuse(refusal, frame.ref)
        return
    if not hearing.chains.may_go(send):
        counts.refuse(RetryInOrder.code)
        hearing.refuse(RetryInOrder(), frame.ref)
        return
    outcome = hearing.runtime.sending.begin(send, largest=LARGEST_SEND)
    hearing.chains.went(send, outcome)
    hearing.unanswered.add(outcome)
    outcome.add_done_callback(partial(_answer, hearing, send, frame.ref))


def _answer(hearing: Hearing, send: Send, ref: str | None, outcome: asyncio.Future[Outcome]) -> None:
    hearing.unanswered.discard(outcome)
    match outcome.result():
        case Sent() as sent:
            hearing.put(frames.sent_frame(send, sent, ref))
        case ChatError() as refusal:
            hearing.refuse(refusal, ref)


async def _ack(hearing: Hearing, frame: AckFrame) -> None:
    try:
        message_ids = [frames.identifier(text, "message_ids") for text in frame.message_ids]
    except ChatError as refusal:
        hearing.refuse(refusal, frame.ref)
        return
    unknown: Sequence[int] = hearing.delivery.acknowledge(message_ids)
    if unknown:
        hearing.errand(partial(acks.acknowledge_known, hearing.mailbox, unknown, hearing.runtime.acks), frame.ref)


async def _read(hearing: Hearing, frame: ReadFrame) -> None:
    conversation_id = UUID(frame.conversation_id)
    read = partial(receipts.read, hearing.mailbox, conversation_id, frame.seq, hearing.runtime.store)
    hearing.errand(read, frame.ref)


async def _typing(hearing: Hearing, frame: TypingFrame) -> None:
    conversation_id = UUID(frame.conversation_id)
    limit = hearing.runtime.typing_limit
    announce = partial(typings.announce, hearing.mailbox, conversation_id, limit, active=frame.active)
    hearing.errand(announce, frame.ref)


async def _call(hearing: Hearing, frame: CallFrame) -> None:
    try:
        device_id = None if frame.device_id is None else frames.identifier(frame.device_id, "device_id")
    except ChatError as refusal:
        hearing.refuse(refusal, frame.ref)
        return
    said = Signal(UUID(frame.conversation_id), frame.signal, frame.body, device_id)
    hearing.errand(partial(hearing.runtime.calls.signal, hearing.mailbox, said), frame.ref)


async def _presence(hearing: Hearing, frame: PresenceFrame) -> None:
    user_ids = [UUID(text) for text in frame.user_ids]
    hearing.errand(partial(hearing.ask_for_presence, user_ids, frame.ref), frame.ref)


async def _authenticate(hearing: Hearing, frame: AuthenticateFrame) -> None:
    hearing.refuse(Conflict("This socket is authenticated already."), frame.ref)


async def _ping(hearing: Hearing, frame: PingFrame) -> None:
    hearing.put(frames.PongFrame(ref=frame.ref))


_VERBS: dict[type[AnyClientFrame], Callable[[Hearing, Any], Awaitable[None]]] = {
    SendFrame: _send,
    AckFrame: _ack,
    ReadFrame: _read,
    TypingFrame: _typing,
    CallFrame: _call,
    PresenceFrame: _presence,
    AuthenticateFrame: _authenticate,
    PingFrame: _ping,
}
