"""Builds with one rule broken, to see that they are caught. Nothing of this is in the product: a test's process changes its own copy of the code.

Each module here breaks one rule, says in its first line which, and changes as little of the real code as will do it. `install(name)` goes before
the server starts, and before failpoints are put in (it reads the product's own source); a process can have one broken rule. Code that is no longer
what a build was made for is refused (`surgery.Misfit`), so a build never passes for broken while it is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from tests.faults.broken import surgery

NAMES = (
    "cursor_max_seen",
    "no_finisher",
    "flag_after_read",
    "subscribe_late",
    "redis_dedupe",
    "ack_before_commit",
    "range_ack",
    "worker_clock",
    "devcheck_outside",
    "no_hold_back",
    "lag_cursor",
    "no_membership_lock",
    "cursor_incomplete_pass",
)
# The environment variable by which a test's worker, or a client of the tests, is told its build.
VARIABLE = "BREAK"

_installed: list[str] = []


class UnknownBuild(ValueError):
    """There is no broken build of this name, or this process has one already."""


def install(name: str) -> None:
    """Break the rule in this process, for good. Raises UnknownBuild, or surgery.Misfit when the code to be changed is another now."""
    if name not in NAMES or _installed:
        raise UnknownBuild(name)
    try:
        import_module(f"{__name__}.{name}").install()
    except BaseException:
        surgery.undo()
        raise
    _installed.append(name)


def build() -> str:
    """The build installed in this process; "" for the real one."""
    return _installed[0] if _installed else ""


@contextmanager
def installed(name: str) -> Iterator[None]:
    """The rule is broken inside, and whole again after."""
    install(name)
    try:
        yield
    finally:
        surgery.undo()
        _installed.clear()
