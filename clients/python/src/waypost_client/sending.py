"""The way of a queued message: sealed for exactly the right devices, sent in order, sent again until it is answered.

One message per conversation is in flight. What has been sealed is sent again byte for byte, except when the server
refused it because the devices changed: then it is sealed anew under the same id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from .backoff import pause
from .clock import ServerClock
from .directory import Audience, Directory
from .errors import BadKeys, Refused, Unreachable
from .events import Message, SendFailed
from .handshake import BadHandshake
from .inbox import Inbox
from .outbox import Copy, Failure, Outbox, Outgoing
from .payload import Text, pack
from .peers import Peer
from .sessions import Sessions, binding
from .state import State
from .values import Bundle, Sent

WRONG_DEVICES = frozenset({"MISMATCHED_DEVICES", "STALE_DEVICES"})
MOST_CORRECTIONS = 8
Transport = Callable[[Outgoing], Awaitable[Sent]]


class Sender:
    """Empties the outbox of one device. Only the holder of the device lock may run one."""

    def __init__(
        self,
        state: State,
        outbox: Outbox,
        inbox: Inbox,
        directory: Directory,
        sessions: Sessions,
        clock: ServerClock,
        transport: Transport,
        *,
        moved: Callable[[], None],
    ) -> None:
        self._state = state
        self._outbox = outbox
        self._inbox = inbox
        self._directory = directory
        self._sessions = sessions
        self._clock = clock
        self._transport = transport
        self._moved = moved
        self._sealing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._busy: set[str] = set()
        self.awaited: dict[int, asyncio.Event] = {}

    def wake(self) -> None:
        """Something may be waiting in the outbox."""
        self._wake.set()

    async def run(self) -> None:
        """Send whatever comes into the outbox, every conversation at its own pace. Ends only by cancelling or SignedOut."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                for conversation_id in self._outbox.conversations():
                    if conversation_id not in self._busy:
                        self._busy.add(conversation_id)
                        group.create_task(self._empty(conversation_id))
                await self._wake.wait()

    async def flush(self) -> None:
        """Send what is in the outbox now, and end when all of it is answered."""
        async with asyncio.TaskGroup() as group:
            for conversation_id in self._outbox.conversations():
                group.create_task(self._empty(conversation_id))

    async def _empty(self, conversation_id: str) -> None:
        try:
            while (outgoing := self._outbox.first(conversation_id)) is not None:
                await self._deliver(outgoing)
        finally:
            self._busy.discard(conversation_id)

    async def _deliver(self, outgoing: Outgoing) -> None:
        """Returns when the server accepted it, or refused it for good."""
        attempt = corrections = 0
        correction: Refused | None = None
        while True:
            try:
                if outgoing.copies is None or correction is not None:
                    outgoing = await self._seal(outgoing, correction)
                    correction = None
                self._accept(outgoing, await self._transport(outgoing))
            except Unreachable:
                await asyncio.sleep(pause(attempt))
            except Refused as refusal:
                if refusal.code in WRONG_DEVICES and corrections < MOST_CORRECTIONS:
                    correction, corrections = refusal, corrections + 1
                    continue
                if refusal.retryable:
                    await asyncio.sleep(pause(attempt, at_least=refusal.retry_after))
                elif _names_id(refusal) and attempt == 0:
                    outgoing = self._rename(outgoing, refusal)
                else:
                    return self._refuse(outgoing, refusal)
            else:
                return None
            attempt += 1

    async def _seal(self, outgoing: Outgoing, correction: Refused | None) -> Outgoing:
        """Encrypt for every device that must have a copy. One at a time, so that two messages never start two sessions."""
        async with self._sealing:
            audience = await self._audience(outgoing, correction)
            plaintext = pack(Text(text=outgoing.text, sent_at=outgoing.written_at, reply_to=outgoing.reply_to))
            bound_to = binding(outgoing.conversation_id, outgoing.client_message_id)
            with self._state.transaction():
                copies = tuple(
                    self._copy(peer, audience.bundles.get(device_id), plaintext, bound_to)
                    for device_id, peer in audience.peers.items()
                )
                self._outbox.keep_sealed(outgoing, copies)
            return replace(outgoing, copies=copies)

    async def _audience(self, outgoing: Outgoing, correction: Refused | None) -> Audience:
        if correction is None:
            return await self._directory.audience(outgoing.conversation_id)
        sealed_for = self._directory.known([copy.device_id for copy in outgoing.copies or ()])
        return await self._directory.corrected(outgoing.conversation_id, sealed_for, correction)

    def _copy(self, peer: Peer, bundle: Bundle | None, plaintext: bytes, bound_to: bytes) -> Copy:
        try:
            if bundle is None:
                sealed = self._sessions.seal(peer, plaintext, bound_to)
            else:
                sealed = self._sessions.start(peer, bundle, plaintext, bound_to)
        except BadHandshake:
            raise BadKeys from None
        return Copy(peer.device_id, peer.registration_id, sealed)

    def _accept(self, outgoing: Outgoing, sent: Sent) -> None:
        with self._state.transaction():
            self._inbox.accept(sent, self._own_message(outgoing, sent), asyncio.get_running_loop().time())
            self._outbox.answer(outgoing, sent)
        self._announce(outgoing)

    def _refuse(self, outgoing: Outgoing, refusal: Refused) -> None:
        failure = Failure(refusal.code, str(refusal))
        with self._state.transaction():
            self._outbox.answer(outgoing, failure)
            if outgoing.number not in self.awaited:
                self._inbox.tell(
                    SendFailed(
                        conversation_id=outgoing.conversation_id,
                        client_message_id=outgoing.client_message_id,
                        error_code=failure.error_code,
                        error=failure.error,
                    )
                )
        self._announce(outgoing)

    def _announce(self, outgoing: Outgoing) -> None:
        """An own message may have filled the gap that held others back, so the inbox may have news as well."""
        self._moved()
        if (event := self.awaited.get(outgoing.number)) is not None:
            event.set()

    def _rename(self, outgoing: Outgoing, refusal: Refused) -> Outgoing:
        """The server did not take the id for its time, so it never stored it: another one, by the clock it named."""
        self._clock.set_text(str(refusal.facts["server_time"]))
        client_message_id = self._clock.new_id()
        self._outbox.rename(outgoing, client_message_id)
        return replace(outgoing, client_message_id=client_message_id, copies=None)

    def _own_message(self, outgoing: Outgoing, sent: Sent) -> Message:
        return Message(
            conversation_id=sent.conversation_id,
            seq=sent.seq,
            message_id=sent.message_id,
            client_message_id=outgoing.client_message_id,
            sender_user_id=str(self._state.fact("user_id")),
            sender_device_id=str(self._state.fact("device_id")),
            text=outgoing.text,
            sent_at=sent.sent_at,
            written_at=outgoing.written_at,
            reply_to=outgoing.reply_to,
            own=True,
        )


def _names_id(refusal: Refused) -> bool:
    return (
        refusal.code == "INVALID_REQUEST"
        and refusal.facts.get("field") == "client_message_id"
        and "server_time" in refusal.facts
    )
