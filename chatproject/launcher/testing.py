"""`test`: pytest on servers of its own, beside a running installation."""

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.child import run_child
from chatproject.launcher.private import private_servers
from chatproject.launcher.state import STATE, only_one


def main(arguments: list[str]) -> int:
    """pytest's exit code; `arguments` are pytest's."""
    with only_one("test", "The tests run already in this checkout."), private_servers(STATE / "test") as environment:
        return run_child([str(PYTHON), "-m", "pytest", *arguments], environment)
