"""The cursor moves whenever the drain wakes, by what is in flight then, whether or not a pass has seen everything."""

from messaging import mailboxes
from messaging.mailboxes import Delivery
from messaging.passes import Oldest
from tests.faults.broken.surgery import rewrite, set_constant


async def move_by_window(delivery: Delivery) -> None:
    mark = await delivery._watermark()
    if mark is None or delivery._cursor is None:
        return
    oldest = Oldest()
    for flight in delivery._window._in_flight.values():
        oldest.note(flight.envelope)
    await delivery._move_cursor(mark, oldest)


def install() -> None:
    rewrite(
        Delivery,
        "run",
        ("await self._pass()", "await move_by_window(self); await self._pass()"),
        move_by_window=move_by_window,
    )
    set_constant(mailboxes, "CURSOR_EVERY_SECONDS", 0.0)
