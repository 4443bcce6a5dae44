"""`restart`: have the `run` of this checkout restart its web workers, one after the other, so that it answers all the while."""

import os
import signal

from chatproject.launcher.console import say
from chatproject.launcher.errors import refuse
from chatproject.launcher.run import LOCK
from chatproject.launcher.state import holder


def main(_arguments: list[str]) -> int:
    """Returns when the running launcher was told; it says itself how it goes on. LauncherError when nothing runs here."""
    running = holder(LOCK)
    if running is None:
        refuse("Waypost does not run in this checkout; make run starts it.")
    os.kill(running, signal.SIGUSR2)
    say("  The web workers restart one after the other; the terminal of make run says how far they are.")
    return 0
