"""`check`: whether a change is good, as far as can be told without running it; what fails fastest comes first."""

import time

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.child import run_child
from chatproject.launcher.console import complain, say
from chatproject.launcher.secret import fresh_secrets

CHECKS = {
    "ruff format": ["-m", "ruff", "format", "--check", "--quiet", "."],
    "ruff check": ["-m", "ruff", "check", "--quiet", "."],
    "lint-imports": ["-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-logo"],
    "mypy": ["-m", "mypy", "--no-error-summary", "."],
    "manage.py check": ["manage.py", "check", "--fail-level", "WARNING"],
    # It says that no database is there to compare with: none has to be.
    "makemigrations": [
        "-W",
        "ignore:Got an error checking:RuntimeWarning",
        "manage.py",
        "makemigrations",
        "--check",
        "--dry-run",
    ],
}


def main(_arguments: list[str]) -> int:
    """0 if every check passes; stops at the first that does not. No server is needed."""
    environment = {"ENVIRONMENT": "development", **fresh_secrets()}
    for name, arguments in CHECKS.items():
        began = time.monotonic()
        if run_child([str(PYTHON), *arguments], environment):
            complain(f"  ✗ {name}")
            return 1
        say(f"  ✓ {name} ({time.monotonic() - began:.1f} s)")
    return 0
