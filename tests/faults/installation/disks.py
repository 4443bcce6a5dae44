"""File systems of their own for the stores that write, small enough to be filled. Only root can mount them."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.installation.stores import Stores

BALLAST = "ballast"
LARGEST_STEP, SMALLEST_STEP = 256 * 1024 * 1024, 4096


def can_mount() -> bool:
    """Whether disks of our own can be had here."""
    return os.geteuid() == 0 and Path("/proc/mounts").exists()


@contextmanager
def small_disks(stores: Stores, megabytes: int) -> Iterator[None]:
    """While this lasts, PostgreSQL and each Cassandra node have `megabytes` for their data; 0: as much as there is."""
    with ExitStack() as stack:
        for server in (stores.postgres, *stores.nodes) if megabytes else ():
            stack.enter_context(_mounted(server.directory, megabytes))
        yield


@contextmanager
def _mounted(place: Path, megabytes: int) -> Iterator[None]:
    unmount(place)
    place.mkdir(parents=True, exist_ok=True)
    # Passed through by whoever PostgreSQL runs as.
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(place)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Afterwards nothing is mounted there, also if something still uses it."""
    while place.is_mount():
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def fill(place: Path) -> None:
    """Take all room there is left, however much others take meanwhile. The disk stays full until `free`."""
    with (place / BALLAST).open("wb") as file:
        size, step = 0, LARGEST_STEP
        while step >= SMALLEST_STEP:
            try:
                os.posix_fallocate(file.fileno(), size, step)
                size += step
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
                step //= 2


def free(place: Path) -> None:
    (place / BALLAST).unlink(missing_ok=True)
