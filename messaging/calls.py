"""Call signalling: an opaque body, passed on once to devices that are connected now. Nothing is kept."""

from collections.abc import Callable, Iterable
from uuid import UUID

import msgspec
from django.conf import settings

from accounts.wire.refusals import NotFound, RateLimited, TooLarge
from messaging import circles, hints
from messaging.buckets import TokenBuckets
from messaging.envelopes import Call, Mailbox
from messaging.online import Online

LARGEST_BODY = 32 * 1024
OFFER = "offer"

Wake = Callable[[UUID, Iterable[Mailbox]], None]


class Signal(msgspec.Struct, frozen=True):
    """What a device wants passed on: to one other device, or to all of the conversation's."""

    conversation_id: UUID
    signal: str
    body: bytes
    device_id: int | None = None


class Calls:
    """The switchboard of one process."""

    def __init__(self, online: Online, wake: Wake) -> None:
        """`wake` has devices woken that somebody calls in a conversation."""
        self._online = online
        self._wake = wake
        [per_second], [burst] = settings.LIMITS["CALL_SIGNALS_PER_SECOND"], settings.LIMITS["CALL_SIGNALS_BURST"]
        self._limit = TokenBuckets(rate=per_second, burst=burst)
        # One signal to a large group must not cost more than there ever is.
        self._dearest = burst // 2

    async def signal(self, caller: Mailbox, said: Signal) -> None:
        """Pass it on; an offer also wakes the other people's devices that are not connected. Every device it is for counts against the caller's limit.

        Raises NotFound when nobody is connected, and likewise for whoever is no member and for devices that are out of reach; TooLarge, RateLimited,
        StorageUnavailable.
        """
        if len(said.body) > LARGEST_BODY:
            raise TooLarge(limit="body", max=LARGEST_BODY)
        self._count(caller, 1)
        there = await circles.callable_from(caller, said.conversation_id)
        wanted = [mailbox for mailbox in there if said.device_id in (None, mailbox.device_id)]
        reached = await self._reached(wanted)
        if said.signal == OFFER:
            self._ring(caller, said.conversation_id, [one for one in wanted if one.device_id not in reached])
        if not reached:
            raise NotFound
        self._count(caller, min(len(reached) - 1, self._dearest))
        call = Call(said.conversation_id, caller.user_id, caller.device_id, said.signal, said.body)
        for device_id in reached:
            hints.notify_device(device_id, call)

    def _ring(self, caller: Mailbox, conversation_id: UUID, asleep: list[Mailbox]) -> None:
        others = [mailbox for mailbox in asleep if mailbox.user_id != caller.user_id]
        if others:
            self._count(caller, min(len(others), self._dearest))
            self._wake(conversation_id, others)

    async def _reached(self, wanted: list[Mailbox]) -> list[int]:
        connected = await self._online.connected(sorted({mailbox.user_id for mailbox in wanted}))
        return [mailbox.device_id for mailbox in wanted if mailbox.device_id in connected]

    def _count(self, caller: Mailbox, cost: int) -> None:
        wait = self._limit.take(caller.device_id, cost=cost)
        if wait:
            raise RateLimited(retry_after=wait)
