"""The cursor moves to the largest position that was sent, not below the oldest un-acknowledged row and the watermark."""

from weakref import WeakKeyDictionary

from messaging import mailboxes
from messaging.envelopes import Envelope
from messaging.mailboxes import Delivery
from messaging.window import Window
from tests.faults.broken.surgery import rewrite, set_constant

_largest: WeakKeyDictionary[Window, int] = WeakKeyDictionary()


def note_sent(window: Window, envelope: Envelope) -> None:
    _largest[window] = max(envelope.position, largest_sent(window))


def largest_sent(window: Window) -> int:
    return _largest.get(window, 0)


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
        ("low = min(oldest.position, mark.position) - 1", "low = largest_sent(self._window)"),
        largest_sent=largest_sent,
    )
    set_constant(mailboxes, "CURSOR_EVERY_SECONDS", 0.0)
