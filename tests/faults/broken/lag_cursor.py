"""The cursor follows a clock: what is older than a few seconds on this process's clock counts as delivered.

Whoever does this takes minutes; runs are shorter than years, and so is LAG_MS.
"""

import time
from weakref import WeakKeyDictionary

from messaging import mailboxes
from messaging.envelopes import Envelope
from messaging.mailboxes import Delivery
from tests.faults.broken.surgery import rewrite, set_constant

LAG_MS = 10_000

_sent: WeakKeyDictionary[Delivery, list[tuple[int, int]]] = WeakKeyDictionary()


def note_sent(delivery: Delivery, envelope: Envelope) -> None:
    _sent.setdefault(delivery, []).append((envelope.kept_ms, envelope.position))


def old_enough(delivery: Delivery) -> int:
    """The largest position of what was kept long enough ago."""
    before = time.time_ns() // 1_000_000 - LAG_MS
    return max((position for kept_ms, position in _sent.get(delivery, ()) if kept_ms < before), default=0)


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
        ("low = min(oldest.position, mark.position) - 1", "low = old_enough(self)"),
        old_enough=old_enough,
    )
    set_constant(mailboxes, "CURSOR_EVERY_SECONDS", 0.0)
