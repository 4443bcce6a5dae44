import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

Watcher = Callable[[str], None]


def run_watched(
    arguments: list[str],
    *,
    log: Path,
    watch: Watcher | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs a program to its end, hands each line it writes to `watch` and to `log`; returns its exit code and output.

    Whatever interrupts us ends the program too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with log.open("w") as kept, _started(arguments, environment) as process:
        try:
            for line in process.stdout or ():
                kept.write(line)
                lines.append(line)
                if watch:
                    watch(line.rstrip())
            return process.wait(), "".join(lines)
        except BaseException:
            process.kill()
            raise


def _started(arguments: list[str], environment: Mapping[str, str] | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
