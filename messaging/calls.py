"""Call signalling: an opaque body, passed on once to devices that are connected now. Nothing is kept."""

from uuid import UUID

import msgspec
from django.conf import settings

from accounts.wire.refusals import NotFound, RateLimited, TooLarge
from messaging import circles, hints
from messaging.buckets import TokenBuckets
from messaging.envelopes import Call, Mailbox
from messaging.online import Online

LARGEST_BODY = 32 * 1024


class Signal(msgspec.Struct, frozen=True):
    """What a device wants passed on: to one other device, or to all of the conversation's."""

    conversation_id: UUID
    signal: str
    body: bytes
    device_id: int | None = None


class Calls:
    """The switchboard of one process."""

    def __init__(self, online: Online) -> None:
        self._online = online
        [per_second], [burst] = settings.LIMITS["CALL_SIGNALS_PER_SECOND"], settings.LIMITS["CALL_SIGNALS_BURST"]
        self._limit = TokenBuckets(rate=per_second, burst=burst)
        # One signal to a large group must not cost more than there ever is.
        self._dearest = burst // 2

    async def signal(self, caller: Mailbox, said: Signal) -> None:
        """Pass it on. Every device it goes to counts against the caller's limit.

        Raises NotFound when nobody is connected, and likewise for whoever is no member and for devices that are out of reach; TooLarge, RateLimited,
        StorageUnavailable.
        """
        if len(said.body) > LARGEST_BODY:
            raise TooLarge(limit="body", max=LARGEST_BODY)
        self._count(caller, 1)
        there = await circles.callable_from(caller, said.conversation_id)
        reached = await self._reached(there, said.device_id)
        if not reached:
            raise NotFound
        self._count(caller, min(len(reached) - 1, self._dearest))
        call = Call(said.conversation_id, caller.user_id, caller.device_id, said.signal, said.body)
        for device_id in reached:
            hints.notify_device(device_id, call)

    async def _reached(self, there: list[Mailbox], device_id: int | None) -> list[int]:
        wanted = [mailbox for mailbox in there if device_id in (None, mailbox.device_id)]
        connected = await self._online.connected(sorted({mailbox.user_id for mailbox in wanted}))
        return [mailbox.device_id for mailbox in wanted if mailbox.device_id in connected]

    def _count(self, caller: Mailbox, cost: int) -> None:
        wait = self._limit.take(caller.device_id, cost=cost)
        if wait:
            raise RateLimited(retry_after=wait)
