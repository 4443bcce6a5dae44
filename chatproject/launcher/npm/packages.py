import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chatproject.launcher.console import Progress
from chatproject.launcher.errors import refuse
from chatproject.launcher.npm.node import Node
from chatproject.launcher.state import LOGS, STATE, one_at_a_time
from chatproject.launcher.watched import run_watched


@dataclass(frozen=True)
class Packages:
    """Packages of npm in a folder of `.state`. `source` has package.json and package-lock.json: npm takes nothing with another hash."""

    name: str
    source: Path
    folder: Path
    megabytes: int

    def have(self, node: Node, finish: Callable[[Path], None]) -> None:
        """Afterwards `folder` has them, fetched unless they are there, as `finish` has left them. Raises LauncherError."""
        with one_at_a_time(self.folder.name):
            stamp = self.folder / "stamp"
            if not (stamp.exists() and stamp.read_text() == self._wanted()):
                self._fetch(node, finish)

    def _files(self) -> tuple[Path, Path]:
        return self.source / "package.json", self.source / "package-lock.json"

    def _wanted(self) -> str:
        return hashlib.sha256(b"".join(file.read_bytes() for file in self._files())).hexdigest()

    def _fetch(self, node: Node, finish: Callable[[Path], None]) -> None:
        fresh = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for file in self._files():
            shutil.copy(file, fresh)
        with Progress(f"Fetching {self.name} for the tests (about {self.megabytes} MB, once)"):
            self._install(fresh, node)
            finish(fresh)
        (fresh / "stamp").write_text(self._wanted())
        shutil.rmtree(self.folder, ignore_errors=True)
        fresh.rename(self.folder)

    def _install(self, folder: Path, node: Node) -> None:
        cache = folder / "cache"
        command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        # npm's own scripts look for `node` on the PATH.
        path = f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {"PATH": path, "npm_config_cache": str(cache), "npm_config_update_notifier": "false"}
        log = LOGS / f"npm-{self.folder.name}.log"
        code, output = run_watched(command, log=log, environment=environment)
        shutil.rmtree(cache, ignore_errors=True)
        if code:
            refuse(self._explain(output, log))

    def _explain(self, output: str, log: Path) -> str:
        if "ENOSPC" in output:
            return f"{self.name} does not fit: the disk that holds {STATE} is full."
        errors = [
            line.removeprefix("npm error").strip() for line in output.splitlines() if line.startswith("npm error")
        ]
        return f"{self.name} could not be fetched: {errors[0] if errors else 'npm failed'} (see {log})."
