"""`test`: pytest on servers of its own, beside a running installation."""

import os
from concurrent.futures import ThreadPoolExecutor

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.child import run_child
from chatproject.launcher.fetched import fetched_variables
from chatproject.launcher.private import private_servers
from chatproject.launcher.state import STATE, only_one


def main(arguments: list[str]) -> int:
    """pytest's exit code; `arguments` are pytest's."""
    with only_one("test", "The tests run already in this checkout."), ThreadPoolExecutor(1) as beside:
        # Servers start meanwhile.
        variables = beside.submit(fetched_variables)
        with private_servers(STATE / "test", durable=False) as environment:
            command = [str(PYTHON), "-m", "pytest", *_side_by_side(), *arguments]
            return run_child(command, environment | variables.result())


def _side_by_side() -> list[str]:
    """One process for each core, four at the most (`tests/scheduling.py` says who stays together); `-n 0` runs all in one process."""
    return ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadscope"]
