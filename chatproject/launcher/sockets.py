import hashlib
import os
import tempfile
from pathlib import Path

from chatproject.launcher.errors import refuse

LONGEST_SOCKET_PATH = 107
LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432")


def socket_folder(directory: Path, owner: int | None = None) -> Path:
    """Where the server of `directory` has its socket: a folder in the system's temporary directory.

    The name is short, because a socket's path may have 107 bytes only, and derived from `directory`, so that
    checkouts do not meet.
    """
    name = f"waypost-{digest(directory)[:12]}"
    return _short_temporary_directory(len(name), os.geteuid() if owner is None else owner) / name


def open_folder(folder: Path, owner: int | None = None) -> None:
    """Makes the folder, into which nobody but its owner may look: the sockets in it ask for no password."""
    owner = os.geteuid() if owner is None else owner
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in {os.geteuid(), owner}:
        refuse(f"{folder} belongs to somebody else; remove it or set TMPDIR to another directory.")
    os.chown(folder, owner, -1)
    folder.chmod(0o700)


def digest(directory: Path) -> str:
    """A name for a directory that no other directory has."""
    return hashlib.sha256(os.fsencode(os.path.abspath(directory))).hexdigest()


def _short_temporary_directory(name_length: int, owner: int) -> Path:
    for candidate in map(Path, (tempfile.gettempdir(), "/tmp")):  # noqa: S108 (the folder in it is private and checked)
        length = len(os.fsencode(candidate)) + 1 + name_length + LONGEST_SOCKET_NAME
        if length <= LONGEST_SOCKET_PATH and _may_pass(candidate, owner):
            return candidate
    return refuse("No temporary directory is short enough for a socket; set TMPDIR to a short path.")


def _may_pass(directory: Path, uid: int) -> bool:
    """Whether `uid` may pass through `directory` and everything above it."""
    return uid == os.geteuid() or all(place.stat().st_mode & 0o001 for place in (directory, *directory.parents))
