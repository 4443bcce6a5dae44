"""`checkup`: `manage.py checkup` with the settings of the installation that runs in this checkout."""

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.child import run_child
from chatproject.launcher.errors import refuse
from chatproject.launcher.leftovers import carrying, environment_of
from chatproject.launcher.run import MARK
from chatproject.launcher.state import CHECKOUT


def main(arguments: list[str]) -> int:
    """The checkup's exit code. LauncherError when no web worker runs here, or none can be found for want of /proc."""
    workers = carrying(f"{MARK}={CHECKOUT}")
    if not workers:
        refuse("Waypost does not run in this checkout; make run starts it.")
    command = [str(PYTHON), str(CHECKOUT / "manage.py"), "checkup", *arguments]
    return run_child(command, environment_of(workers[0]))
