"""The cursor follows a clock: what is older than a few seconds on this process's clock counts as delivered.

Whoever does this takes minutes; runs are shorter than years, and so is LAG_MS.
"""

import time
from weakref import WeakKeyDictionary

from messaging import mailboxes
from messaging.envelopes import Envelope
from messaging.mailboxes import Delivery
from messaging.window import Window
from tests.faults.broken.surgery import rewrite, set_constant

LAG_MS = 10_000

_sent: WeakKeyDictionary[Window, list[tuple[int, int]]] = WeakKeyDictionary()


def note_sent(window: Window, envelope: Envelope) -> None:
    _sent.setdefault(window, []).append((envelope.kept_ms, envelope.position))


def old_enough(window: Window) -> int:
    """The largest position of what was kept long enough ago."""
    before = time.time_ns() // 1_000_000 - LAG_MS
    return max((position for kept_ms, position in _sent.get(window, ()) if kept_ms < before), default=0)


def install() -> None:
    rewrite(
        Window,
        "take",
        ("self._bytes += envelope.size", "self._bytes += envelope.size; note_sent(self, envelope)"),
        note_sent=note_sent,
    )
    rewrite(
        Delivery,
        "_move_cursor",
        ("low = min(oldest.position, mark.position) - 1", "low = old_enough(self._window)"),
        old_enough=old_enough,
    )
    set_constant(mailboxes, "CURSOR_EVERY_SECONDS", 0.0)
