"""The cursor moves to the largest position that was sent, not below the oldest un-acknowledged row and the watermark."""

from weakref import WeakKeyDictionary

from messaging import mailboxes
from messaging.envelopes import Envelope
from messaging.mailboxes import Delivery
from tests.faults.broken.surgery import rewrite, set_constant

_largest: WeakKeyDictionary[Delivery, int] = WeakKeyDictionary()


def note_sent(delivery: Delivery, envelope: Envelope) -> None:
    _largest[delivery] = max(envelope.position, largest_sent(delivery))


def largest_sent(delivery: Delivery) -> int:
    return _largest.get(delivery, 0)


def install() -> None:
    rewrite(
        Delivery,
        "_take",
        ("self._in_flight_bytes += envelope.size", "self._in_flight_bytes += envelope.size; note_sent(self, envelope)"),
        note_sent=note_sent,
    )
    rewrite(
        Delivery,
        "_move_cursor",
        ("low = min(oldest.position, mark.position) - 1", "low = largest_sent(self)"),
        largest_sent=largest_sent,
    )
    set_constant(mailboxes, "CURSOR_EVERY_SECONDS", 0.0)
