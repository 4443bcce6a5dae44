import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from chatproject.launcher.console import say
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.together import Child, start_together, stop_together

DEATHS_ALLOWED = 2
DEATHS_WINDOW_SECONDS = 60.0
RESTART_PATIENCE_SECONDS = 60.0


class Supervisor:
    """Starts the dead again, never the silent: a child that hangs may be at work, and killing it would lose that.

    A death is an exit after having been ready. Three of one child within a minute are a fault that starting again
    does not mend: `give_up` is called, once, with the reason; unless deaths are what somebody wants to see
    (`is_patient`). `tell` hears of deaths and returns.
    """

    def __init__(
        self, give_up: Callable[[str], None], *, is_patient: bool = False, tell: Callable[[str], None] = say
    ) -> None:
        self._give_up = give_up
        self._is_patient = is_patient
        self._tell = tell
        self._groups: list[Sequence[Child]] = []
        self._keepers: list[threading.Thread] = []
        self._stopping = threading.Event()
        # Children that leave because they were asked to, and what says that they are back.
        self._replaced: dict[Child, threading.Event] = {}

    def start(self, children: Sequence[Child]) -> None:
        """Returns when all are ready. They are stopped before those that were started earlier."""
        self._groups.insert(0, children)
        start_together(children)
        for child in children:
            keeper = threading.Thread(target=self._keep, args=[child], name=f"keeper of {child.name}", daemon=True)
            self._keepers.append(keeper)
            keeper.start()

    def restart_in_turn(self, children: Sequence[Child]) -> None:
        """Returns when each of these has left in good order and is back; only one of them is away at a time."""
        for child in children:
            if self._stopping.is_set():
                return
            say(f"  … Restarting {child.name}")
            back = self._replaced[child] = threading.Event()
            child.stop()
            back.wait(RESTART_PATIENCE_SECONDS)

    def stop(self) -> None:
        """Returns when every child is gone."""
        self._stopping.set()
        for _ in ("those that run", "one that was just being started again"):
            for group in self._groups:
                stop_together(group)
            for keeper in self._keepers:
                keeper.join(RESTART_PATIENCE_SECONDS)

    def hurry(self) -> None:
        for group in self._groups:
            for child in group:
                child.hurry()

    def _keep(self, child: Child) -> None:
        deaths: deque[float] = deque(maxlen=DEATHS_ALLOWED + 1)
        while True:
            code = child.wait()
            if self._stopping.is_set():
                return
            asked = self._replaced.pop(child, None)
            if asked is not None:
                if not self._restart(child):
                    return
                asked.set()
                continue
            deaths.append(time.monotonic())
            too_many = len(deaths) > DEATHS_ALLOWED and not self._is_patient
            if too_many and deaths[-1] - deaths[0] < DEATHS_WINDOW_SECONDS:
                self._give_up(f"{child.name} died three times within a minute, last {describe(code)}; see {child.log}")
                return
            self._tell(f"  ! {child.name} died ({describe(code)}); starting it again")
            if not self._restart(child):
                return

    def _restart(self, child: Child) -> bool:
        """Tries again for a while, if it is patient for ever: what a start needs may itself be just coming back."""
        began = time.monotonic()
        while not self._stopping.is_set():
            try:
                child.start()
            except (LauncherError, OSError) as error:
                if time.monotonic() - began > RESTART_PATIENCE_SECONDS and not self._is_patient:
                    self._give_up(f"{child.name} could not be started again: {error}")
                    return False
                self._stopping.wait(1.0)
            else:
                self._tell(f"  ✓ {child.name} is back after {time.monotonic() - began:.1f} s")
                return True
        return False


def describe(code: int) -> str:
    """An exit code in words."""
    return f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"
