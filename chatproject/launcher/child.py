import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

PATIENCE_SECONDS = 15


def run_child(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a program on our terminal; returns its exit code. When we are interrupted, it gets the time to end well."""
    with subprocess.Popen(arguments, env={**os.environ, **environment}) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
