"""`test`: pytest on servers of its own, beside a running installation."""

import os

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.child import run_child
from chatproject.launcher.private import private_servers
from chatproject.launcher.state import STATE, only_one


def main(arguments: list[str]) -> int:
    """pytest's exit code; `arguments` are pytest's."""
    with (
        only_one("test", "The tests run already in this checkout."),
        private_servers(STATE / "test", durable=False) as environment,
    ):
        return run_child([str(PYTHON), "-m", "pytest", *_side_by_side(), *arguments], environment)


def _side_by_side() -> list[str]:
    """One process for each core, four at the most (`tests/scheduling.py` says who stays together); `-n 0` runs all in one process."""
    return ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadscope"]
