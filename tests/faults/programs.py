"""The parts that need no servers, as programs of their own: what they print is shown, their exit code is their judgement."""

import os
from collections.abc import Sequence

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.child import run_child

MODEL = "tests.faults.model"
SIMULATION = "tests.faults.simulation"


def program(module: str, arguments: Sequence[str] = ()) -> bool:
    """Whether the program kept, or caught, what it had to."""
    return (
        run_child([str(PYTHON), "-m", module, *arguments], {"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0")})
        == 0
    )
