"""Call signalling: an opaque body, passed on once to devices that are connected now. Nothing is kept."""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import msgspec
from django.conf import settings

from accounts.wire.refusals import NotFound, RateLimited, TooLarge
from messaging import circles, hints
from messaging.buckets import TokenBuckets
from messaging.circles import Callee
from messaging.envelopes import Call, Mailbox

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

    def __init__(self, wake: Wake) -> None:
        """`wake` has devices woken that somebody calls in a conversation."""
        self._wake = wake
        [per_second], [burst] = settings.LIMITS["CALL_SIGNALS_PER_SECOND"], settings.LIMITS["CALL_SIGNALS_BURST"]
        self._limit = TokenBuckets(rate=per_second, burst=burst)
        # One signal to a large group must not cost more than there ever is.
        self._dearest = burst // 2

    async def signal(self, caller: Mailbox, said: Signal) -> None:
        """Pass it on; an offer also wakes the other people's devices that are not connected. Every device it is for counts against the caller's limit.

        Raises NotFound when nobody is connected, and likewise for whoever is no member and for devices that are out of reach; TooLarge, RateLimited,
        StorageUnavailable. Where somebody may not be seen by the caller, the answer and what it costs are those for one who is connected.
        """
        if len(said.body) > LARGEST_BODY:
            raise TooLarge(limit="body", max=LARGEST_BODY)
        self._count(caller, 1)
        members = await circles.callees(caller, said.conversation_id)
        wanted = [one for one in members if said.device_id in (None, one.mailbox.device_id)]
        reached = await hints.listening(one.mailbox.device_id for one in wanted if not one.is_apart)
        told = [one for one in wanted if one.is_unseen or one.mailbox.device_id in reached]
        asleep = _asleep(caller, wanted, reached) if said.signal == OFFER else []
        self._count(caller, min(len({*told, *asleep}) - 1, self._dearest))
        self._ring(said.conversation_id, asleep)
        call = Call(said.conversation_id, caller.user_id, caller.device_id, said.signal, said.body)
        for device_id in reached:
            hints.notify_device(device_id, call)
        if not told:
            raise NotFound

    def _ring(self, conversation_id: UUID, asleep: Sequence[Callee]) -> None:
        mailboxes = [one.mailbox for one in asleep if not one.is_apart]
        if mailboxes:
            self._wake(conversation_id, mailboxes)

    def _count(self, caller: Mailbox, cost: int) -> None:
        wait = self._limit.take(caller.device_id, cost=cost) if cost > 0 else 0
        if wait:
            raise RateLimited(retry_after=wait)


def _asleep(caller: Mailbox, wanted: Iterable[Callee], reached: set[int]) -> list[Callee]:
    """The other people's devices that are not connected, and those that are as good as that."""
    return [
        one
        for one in wanted
        if one.mailbox.user_id != caller.user_id and (one.is_apart or one.mailbox.device_id not in reached)
    ]
