"""`faults`: the message guarantee under attack, on installations of its own that are harmed."""

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.child import run_child
from chatproject.launcher.state import only_one


def main(arguments: list[str]) -> int:
    """The attack's exit code; `arguments` are its own."""
    with only_one("faults", "The faults run already in this checkout."):
        return run_child([str(PYTHON), "-m", "tests.faults", *arguments], {})
