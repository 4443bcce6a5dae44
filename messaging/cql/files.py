"""Numbered migration files: `NNNN_name.cql`, statements that end in a semicolon at the end of a line.

Forward only. A file that was released never changes: the runner refuses one whose checksum differs from what was applied.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).parent
_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.cql")


class Migration(NamedTuple):
    """One file, its templates not yet filled in."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.version:04d}_{self.name}"


def migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """All migrations by number. Raises ValueError for a gap, two files of one number, or a strange name."""
    found = [_migration(path) for path in sorted(directory.glob("*.cql"))]
    if [one.version for one in found] != list(range(1, len(found) + 1)):
        message = f"CQL migrations are not numbered 1, 2, 3…: {', '.join(one.label for one in found)}"
        raise ValueError(message)
    return found


def _migration(path: Path) -> Migration:
    named = _FILE_NAME.fullmatch(path.name)
    if named is None:
        message = f"{path.name} is no name for a CQL migration: NNNN_name.cql"
        raise ValueError(message)
    text = path.read_text(encoding="utf-8")
    return Migration(int(named[1]), named[2], hashlib.sha256(text.encode()).hexdigest(), _statements(text))


def _statements(text: str) -> tuple[str, ...]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return tuple(statement.strip() for statement in re.split(r";[ \t]*(?:\n|$)", code) if statement.strip())
