"""`python -m tests.faults.warden`: ends what an installation leaves when whoever runs it is killed.

Servers run in sessions of their own and would go on for ever; a stopped worker does not notice that its parent is gone. The warden waits at a
pipe that closes with the harness, however that ends.
"""

import argparse
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.errors import LauncherError
from chatproject.launcher.leftovers import carrying, end_leftovers, working_in
from chatproject.launcher.server import Server
from chatproject.launcher.state import CHECKOUT
from tests.faults.installation.disks import unmount

MARK = "WAYPOST_FAULTS"


@contextmanager
def warden(mark: str, servers: Sequence[Server], life: int) -> Iterator[None]:
    """While this lasts, the servers and every process with WAYPOST_FAULTS=`mark` in its environment end with us. `life` is a lifeline."""
    command = [str(PYTHON), "-m", "tests.faults.warden", "--life-fd", str(life), "--mark", mark]
    command += [f"{server.executable}={server.data}" for server in servers]
    with subprocess.Popen(
        command, cwd=CHECKOUT, pass_fds=[life], stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--life-fd", type=int, required=True)
    parser.add_argument("--mark", required=True)
    parser.add_argument("servers", nargs="*", help="executable=data directory")
    asked = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    os.read(asked.life_fd, 1)
    finders = [partial(carrying, f"{MARK}={asked.mark}")]
    for server in asked.servers:
        executable, _, data = server.partition("=")
        finders.append(partial(working_in, Path(data), executable))
    for find in finders:
        with contextlib.suppress(LauncherError):
            end_leftovers(find, signal.SIGKILL, 5.0)
    for server in asked.servers:
        unmount(Path(server.partition("=")[2]).parent)


if __name__ == "__main__":
    main()
