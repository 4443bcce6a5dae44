"""The other end of the load generator: starts it, passes on what it says."""

import subprocess
from collections.abc import Iterator

import msgspec

from benchmarks.events import Event, Failed, Load
from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import CHECKOUT


def under_load(load: Load) -> Iterator[Event]:
    """The events of a run, to its end. LauncherError when it fails."""
    with subprocess.Popen(
        [str(PYTHON), "-m", "benchmarks.load"], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  (asked for above)
        try:
            process.stdin.write(msgspec.json.encode(load))
            process.stdin.close()
            for line in process.stdout:
                yield _checked(msgspec.json.decode(line, type=Event))
        finally:
            process.terminate()
    if process.returncode:
        refuse(f"The load generator ended with code {process.returncode}.")


def _checked(event: Event) -> Event:
    if isinstance(event, Failed):
        refuse(f"The run is void: {event.reason}")
    return event
