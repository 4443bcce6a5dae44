"""What a client says and hears."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from .company import MOST_MEMBERS
from .errors import GroupTooLarge, NotAnswered, Refused, Unreachable
from .events import Event, Kept, Message
from .outbox import Failure
from .payload import Text, pack
from .running import LOOK_EVERY, Running, first_of
from .values import Page, Sent

ANSWER_WITHIN = 60.0
PAGE = 64


class Talking(Running):
    """Messages and events."""

    async def send(
        self, conversation_id: str, text: str, *, reply_to: str | None = None, within: float = ANSWER_WITHIN
    ) -> Sent:
        """Queue a text and wait until the server has it. Refused when it will never be sent.

        NotAnswered after `within` seconds: it is queued all the same, survives a kill, and leaves under its one id.
        """
        number = await self.enqueue(conversation_id, text, reply_to=reply_to)
        arrived = self._sender.awaited.setdefault(number, asyncio.Event())
        try:
            return await asyncio.wait_for(self._answer(number, arrived), within)
        except TimeoutError:
            raise NotAnswered from None
        finally:
            self._sender.awaited.pop(number, None)

    async def enqueue(self, conversation_id: str, text: str, *, reply_to: str | None = None) -> int:
        """Queue a text without waiting for the server; what becomes of it is told as an event if it fails."""
        written_at = self._clock.now()
        pack(Text(text=text, sent_at=written_at, reply_to=reply_to))
        with contextlib.suppress(Unreachable):
            if (await self._directory.conversation(conversation_id)).member_count > MOST_MEMBERS:
                raise GroupTooLarge
        number = self._outbox.put(conversation_id, self._clock.new_id(), text, written_at, reply_to)
        self._sender.wake()
        return number

    async def read(self, conversation_id: str, seq: int) -> None:
        """Say that everything up to `seq` was read: now, or at the next connection."""
        await self._link.read(conversation_id, seq)

    async def messages(self) -> AsyncIterator[Message]:
        """Texts of others and of the own other devices, each once and in order. See `events` for all else."""
        async for event in self.events():
            if isinstance(event, Message):
                yield event

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens. What is kept on disk is told again after a kill, unless the loop came past it.

        Ends when the client is closed; SignedOut or ConnectedElsewhere when it cannot go on. One loop at a time.
        """
        while not self._closing:
            self._news.clear()
            kept = self._inbox.events_after(self._told, PAGE)
            for number, event in kept:
                self._told = number
                yield event
                self._passed = number
            if kept:
                self._inbox.seen(self._passed)
            elif self._live:
                # Only when nothing kept is left: "caught up" must not overtake what it is about.
                yield self._live.popleft()
            elif self._ended is not None:
                raise self._ended
            else:
                await self._news.wait()

    def history(self, conversation_id: str, *, before: int | None = None, limit: int = 50) -> list[Kept]:
        """What this device has opened or sent there, newest last. The server keeps no text, so this is asked of the disk."""
        return self._inbox.history(conversation_id, before=before, limit=limit)

    async def server_history(
        self, conversation_id: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> Page:
        """A page of the conversation as the server keeps it, newest first, ciphertext for this device while it is there."""
        query = {
            name: value for name, value in (("before", before), ("after", after), ("limit", limit)) if value is not None
        }
        return await self._api.call("GET", f"conversations/{conversation_id}/messages", Page, query=query)

    async def _answer(self, number: int, arrived: asyncio.Event) -> Sent:
        while (answer := self._outbox.collect(number)) is None:
            if self._ended is not None:
                raise self._ended
            if self._online:
                await arrived.wait()
            else:
                await self._flush_or_wait()
        if isinstance(answer, Failure):
            raise Refused(answer.error_code, answer.error)
        return answer

    async def _flush_or_wait(self) -> None:
        """Speak for the device if nobody does; else whoever does will find the entry in the queue."""
        if not self._device_lock.take():
            await asyncio.sleep(LOOK_EVERY)
            return
        try:
            await self._sender.flush()
        except* Exception as group:  # noqa: BLE001 - as in `_until_it_ends`
            self._end(first_of(group))
        finally:
            self._inbox.forget()
            self._device_lock.release()
