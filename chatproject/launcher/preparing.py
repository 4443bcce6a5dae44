import subprocess
from collections.abc import Mapping

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.console import Progress
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import CHECKOUT, LOGS
from chatproject.launcher.watched import run_watched


def migrate(environment: Mapping[str, str]) -> None:
    """Brings every alias to the newest schema."""
    for title, options in (("Migrating", []), ("Migrating messages", ["--database=messages"])):
        with Progress(title) as progress:
            applied = 0

            def count(line: str) -> None:
                nonlocal applied
                applied += "Applying" in line
                progress.report(f"{applied} migrations applied")

            command = [str(PYTHON), str(CHECKOUT / "manage.py"), "migrate", "--no-input", *options]
            log = LOGS / "migrate.log"
            code, output = run_watched(command, log=log, watch=count, environment=environment)
            if code:
                refuse(f"{title} failed: {_last_line(output)} (see {log})")


def make_first_admin(environment: Mapping[str, str]) -> None:
    """Makes an administrator if there is none, and shows the one-time password, on the terminal alone."""
    command = [str(PYTHON), str(CHECKOUT / "manage.py"), "first_admin"]
    # In a session of its own: a Ctrl-C meant for the launcher must not end it with a traceback.
    finished = subprocess.run(
        command, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True, check=False
    )
    if finished.returncode:
        refuse("The first administrator could not be made.")


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["it said nothing"])[-1]
