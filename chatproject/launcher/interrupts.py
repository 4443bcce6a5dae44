import signal
import time
from collections.abc import Callable

SAME_GESTURE_SECONDS = 0.5


class Interrupts:
    """The first Ctrl-C, SIGTERM or hang-up raises KeyboardInterrupt; later ones never do, so that what has been started
    is always put away. They hurry, unless they belong to the first: a terminal and make may both pass it on.
    """

    def __init__(self) -> None:
        self._hurry: Callable[[], None] | None = None
        self._first: float | None = None

    def install(self) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup has its reason.
            if sign != signal.SIGHUP or signal.getsignal(sign) != signal.SIG_IGN:
                signal.signal(sign, self._receive)

    def on_restart(self, restart: Callable[[], None]) -> None:
        """SIGUSR2 calls this from now on, in the main thread."""
        signal.signal(signal.SIGUSR2, lambda *_: restart())

    def only_hurry(self, hurry: Callable[[], None]) -> None:
        """From now on nothing is raised: what is put away now is put away whole, at most sooner."""
        self._hurry = hurry
        self._first = self._first or time.monotonic()

    def _receive(self, *_: object) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
            raise KeyboardInterrupt
        if self._hurry and now - self._first > SAME_GESTURE_SECONDS:
            self._hurry()


interrupts = Interrupts()
