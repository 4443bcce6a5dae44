import os
import shutil
from pathlib import Path

from chatproject.launcher.errors import refuse
from chatproject.launcher.npm import Node, Packages, have_node, variables_of
from chatproject.launcher.state import LOGS, STATE
from chatproject.launcher.watched import run_watched

FOLDER = STATE / "libsignal"
MODULE = Path("node_modules", "@signalapp", "libsignal-client")
ENTRY = MODULE / "dist" / "index.js"


def libsignal_variables() -> dict[str, str]:
    """What leads the tests to libsignal: LIBSIGNAL_NODE, LIBSIGNAL_MODULE."""
    return variables_of("libsignal", _fetch)


def _fetch() -> dict[str, str]:
    """Raises LauncherError where it cannot be had or does not run."""
    node = have_node()

    def finish(folder: Path) -> None:
        _drop_other_platforms(folder)
        _require_loading(folder, node)

    Packages("libsignal", Path(__file__).parent, FOLDER, megabytes=60).have(node, finish)
    return {"LIBSIGNAL_NODE": str(node.program), "LIBSIGNAL_MODULE": str(FOLDER / ENTRY)}


def _drop_other_platforms(folder: Path) -> None:
    """Five of its six builds are for other machines: 125 MB."""
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(os.uname().machine, os.uname().machine)
    own = f"{os.uname().sysname.lower()}-{machine}"
    for build in (folder / MODULE / "prebuilds").iterdir():
        if build.name != own:
            shutil.rmtree(build)


def _require_loading(folder: Path, node: Node) -> None:
    command = [str(node.program), "--input-type=module", "--eval", f"await import({str(folder / ENTRY)!r})"]
    code, output = run_watched(command, log=LOGS / "libsignal.log")
    if code:
        reason = next((line for line in output.splitlines() if "Error" in line), "it cannot be loaded")
        refuse(f"libsignal does not run here: {reason} (see {LOGS / 'libsignal.log'}).")
