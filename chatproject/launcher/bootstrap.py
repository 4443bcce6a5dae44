import hashlib
import platform
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from chatproject.launcher.console import Progress, say
from chatproject.launcher.errors import refuse
from chatproject.launcher.state import CHECKOUT, LOGS, one_at_a_time
from chatproject.launcher.watched import run_watched

VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
RUNTIME = CHECKOUT / "requirements.txt"
DEV = CHECKOUT / "requirements-dev.txt"
PIP_LOG = LOGS / "pip.log"
NEEDED_MEGABYTES = 600

NO_COMPILER = re.compile(
    r"(command '[^']*(gcc|cc|clang|\+\+)[^']*' failed: No such file"
    r"|unable to execute '|(gcc|cc|clang|g\+\+): (command )?not found|No such file or directory: '(gcc|cc|clang|g\+\+)'"
    r"|Unknown compiler|No acceptable C compiler)"
)
NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|ConnectTimeout|ProxyError"
)


def bootstrap(*, dev: bool) -> None:
    """When this returns, .venv has every pinned requirement, those of the developer included if `dev`.

    The stamp in .venv tells which requirements it was made for; when it matches, nothing is done.
    """
    if _is_complete(dev=dev):
        return
    with one_at_a_time("bootstrap"):
        if not _is_complete(dev=dev):
            _make_room()
            _make_venv()
            _install(dev=dev)


def _is_complete(*, dev: bool) -> bool:
    stamp = _stamp(dev=dev)
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == _wanted(dev=dev)


def _stamp(*, dev: bool) -> Path:
    return VENV / f"waypost-{'dev' if dev else 'run'}"


def _wanted(*, dev: bool) -> str:
    files = [RUNTIME, DEV] if dev else [RUNTIME]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _make_room() -> None:
    free = shutil.disk_usage(CHECKOUT).free // 1_000_000
    if not VENV.exists() and free < NEEDED_MEGABYTES:
        refuse(f"The disk that holds {CHECKOUT} is full: {free} MB are free, about {NEEDED_MEGABYTES} MB are needed.")


def _make_venv() -> None:
    if PYTHON.exists() and run_watched([str(PYTHON), "-m", "pip", "--version"], log=PIP_LOG)[0] == 0:
        return
    if not (find_spec("venv") and find_spec("ensurepip")):
        refuse(
            f"{sys.executable} cannot make virtual environments: install its venv and ensurepip modules "
            f"(Debian, Ubuntu: apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv)."
        )
    with Progress(f"Making .venv with Python {platform.python_version()}"):
        code, output = run_watched([sys.executable, "-m", "venv", "--clear", str(VENV)], log=PIP_LOG)
    if code:
        refuse(explain_pip(output))


def _install(*, dev: bool) -> None:
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
    ]
    with Progress(f"Installing {'everything for development' if dev else 'what Waypost needs'} (once)") as progress:
        collected = 0

        def watch(line: str) -> None:
            nonlocal collected
            if line.startswith("Collecting "):
                collected += 1
                progress.report(f"{collected} packages fetched")
            if line.startswith("Installing collected packages"):
                say(f"    {collected} packages fetched, unpacking")

        code, output = run_watched([*command, "-r", str(DEV if dev else RUNTIME)], log=PIP_LOG, watch=watch)
        if code:
            refuse(explain_pip(output))
    for level in {False, dev}:
        _stamp(dev=level).write_text(_wanted(dev=level))


def explain_pip(output: str) -> str:
    """The one sentence for a failed installation."""
    if "No space left on device" in output:
        return f"The disk that holds {VENV} is full."
    if NO_COMPILER.search(output):
        return (
            "A package has no wheel for this machine and no C compiler is here to build it: install one "
            f"(Debian, Ubuntu: apt install build-essential python3-dev) and start again (see {PIP_LOG})."
        )
    if NO_NETWORK.search(output):
        return f"The package index cannot be reached (see {PIP_LOG})."
    errors = [line.strip() for line in output.splitlines() if "error" in line.lower()]
    return f"The requirements cannot be installed: {errors[-1] if errors else 'pip failed'} (see {PIP_LOG})."
