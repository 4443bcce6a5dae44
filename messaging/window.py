"""What is under way to one device: how much more fits, what was acknowledged, what is overdue."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from messaging.envelopes import Envelope

ENVELOPES = 256
BYTES = 1024 * 1024
REMEMBERED_ACKS = 4096
UNANSWERED_SECONDS = 30.0


class NotKeepingUp(Exception):
    """The device does not acknowledge what it was sent, not even the second time. `head` is the oldest of it."""

    def __init__(self, head: Envelope) -> None:
        super().__init__()
        self.head = head


class _InFlight(NamedTuple):
    envelope: Envelope
    sent_at: float
    repeated: bool


class Window:
    """The envelopes that were sent on one socket and not acknowledged yet."""

    def __init__(self) -> None:
        self._in_flight: OrderedDict[int, _InFlight] = OrderedDict()
        self._bytes = 0
        self._acked: OrderedDict[int, None] = OrderedDict()

    def knows(self, message_id: int) -> bool:
        """Whether it is under way, or was acknowledged a while ago: it is not sent again."""
        return message_id in self._in_flight or message_id in self._acked

    def fits(self, envelope: Envelope) -> bool:
        """One envelope always fits into an empty window, however large it is."""
        if not self._in_flight:
            return True
        return len(self._in_flight) < ENVELOPES and self._bytes + envelope.size <= BYTES

    def has_room(self) -> bool:
        """Half the window is free: enough for a pass to be worth its reads."""
        return 2 * len(self._in_flight) <= ENVELOPES and 2 * self._bytes <= BYTES

    def take(self, envelope: Envelope) -> None:
        """It is sent now."""
        self._in_flight[envelope.message_id] = _InFlight(envelope, asyncio.get_running_loop().time(), repeated=False)
        self._bytes += envelope.size

    def release(self, message_id: int) -> Envelope | None:
        """It is acknowledged: the envelope, None where it is not under way. Its row may still be read until the ack is written."""
        flight = self._in_flight.pop(message_id, None)
        if flight is None:
            return None
        self._bytes -= flight.envelope.size
        self.remember([message_id])
        return flight.envelope

    def remember(self, message_ids: Iterable[int]) -> None:
        """These are not sent on this socket any more, though they may still be read."""
        for message_id in message_ids:
            self._acked[message_id] = None
            if len(self._acked) > REMEMBERED_ACKS:
                self._acked.popitem(last=False)

    def overdue(self, now_ms: int) -> list[Envelope]:
        """What was not acknowledged in time and is to be sent once more. Raises NotKeepingUp when some of it was sent twice.

        What has expired is under way no more: nobody has to acknowledge it, and it is not sent again.
        """
        self._forget_expired(now_ms)
        late = asyncio.get_running_loop().time() - UNANSWERED_SECONDS
        overdue = [flight for flight in self._in_flight.values() if flight.sent_at < late]
        for flight in overdue:
            if flight.repeated:
                raise NotKeepingUp(flight.envelope)
        for flight in overdue:
            self._in_flight[flight.envelope.message_id] = _InFlight(
                flight.envelope, asyncio.get_running_loop().time(), repeated=True
            )
        return [flight.envelope for flight in overdue]

    def _forget_expired(self, now_ms: int) -> None:
        expired = [
            one.envelope for one in self._in_flight.values() if (one.envelope.expires_ms or now_ms + 1) <= now_ms
        ]
        for envelope in expired:
            del self._in_flight[envelope.message_id]
            self._bytes -= envelope.size
