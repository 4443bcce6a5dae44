"""`accept-restore`: the operator's word after PostgreSQL was restored, where the servers are the launcher's own and run only while it does."""

import os
import subprocess

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.preparing import migrate
from chatproject.launcher.run import LOCK, RUNS_ALREADY
from chatproject.launcher.secret import kept_secrets
from chatproject.launcher.state import CHECKOUT, STATE, only_one
from chatproject.launcher.stores import Stores
from chatproject.launcher.supervisor import Supervisor


def main(arguments: list[str]) -> int:
    """Starts the stores, runs `manage.py accept_restore` with these arguments, stops them. Its exit code."""
    with only_one(LOCK, RUNS_ALREADY):
        stores = Stores(os.environ)
        secrets = kept_secrets(STATE / "secrets", os.environ)
        supervisor = Supervisor(give_up=lambda _reason: None)
        try:
            supervisor.start(stores.servers)
            environment = {"ENVIRONMENT": "development", **os.environ, **stores.open(), **secrets}
            migrate(environment)
            command = [str(PYTHON), str(CHECKOUT / "manage.py"), "accept_restore", *arguments]
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            supervisor.stop()
