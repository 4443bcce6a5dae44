import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from chatproject.launcher.bootstrap import PYTHON, VENV, bootstrap
from chatproject.launcher.console import complain
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.interrupts import interrupts
from chatproject.launcher.state import CHECKOUT

INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True)
class Command:
    """A command's module has a `main` that takes the remaining arguments; it is imported inside .venv only."""

    promise: str
    module: str
    dev: bool = True
    takes_arguments: bool = False


COMMANDS = {
    "run": Command("start everything and serve; Ctrl-C stops it", "run", dev=False),
    "restart": Command(
        "restart the web workers of the running installation, one after the other", "restart", dev=False
    ),
    "checkup": Command(
        "have the running installation checked: a short life lived in it; arguments go to manage.py checkup",
        "checkup",
        dev=False,
        takes_arguments=True,
    ),
    "accept-restore": Command(
        "after PostgreSQL was restored: go on above what the message store has; arguments go to manage.py accept_restore",
        "accepting",
        dev=False,
        takes_arguments=True,
    ),
    "test": Command("run the tests on servers of their own; arguments go to pytest", "testing", takes_arguments=True),
    "check": Command("formatting, lint, imports, types, Django's checks", "checking"),
    "bench": Command("run the benchmarks on servers of their own; arguments go to them", "bench", takes_arguments=True),
    "faults": Command(
        "attack the message guarantee on installations of its own; arguments go to the attack",
        "faults",
        takes_arguments=True,
    ),
    "servers": Command("keep the tests' servers running, for one test at a time", "servers"),
}


def obey(arguments: list[str]) -> int:
    """Runs one command; whatever goes wrong ends as one sentence and an exit code."""
    interrupts.install()
    try:
        return _run(arguments)
    except LauncherError as error:
        complain(f"\n  ✗ {error}")
    except OSError as error:
        complain(f"\n  ✗ {_explain(error)}")
    except KeyboardInterrupt:
        complain("\n  Stopped.")
        return INTERRUPTED
    return 1


def _run(arguments: list[str]) -> int:
    name, *rest = arguments or ["help"]
    command = COMMANDS.get(name)
    if command is None or (rest and not command.takes_arguments):
        complain(usage())
        return 0 if name in {"help", "-h", "--help"} else 2
    bootstrap(dev=command.dev)
    if sys.prefix != str(VENV):
        os.chdir(CHECKOUT)
        os.execv(PYTHON, [str(PYTHON), "-m", "chatproject.launcher", *arguments])  # noqa: S606  (our own interpreter)
    start: Callable[[list[str]], int] = import_module(f"chatproject.launcher.{command.module}").main
    return start(rest)


def usage() -> str:
    lines = [f"  {name:<14} {command.promise}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: python3 -m chatproject.launcher COMMAND [arguments]", "", *lines])


def _explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk is full: {error.filename or CHECKOUT}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"Not allowed to write {error.filename}: does this checkout belong to you?"
    return str(error)
