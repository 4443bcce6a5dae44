"""Who may do what with a profile. The kernel lets go of these locks when their process dies."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .errors import ProfileInUse

PAUSE = 0.05


class FolderLock:
    """One of a profile's locks. `device`: speaks for the device. `tokens`: trades the refresh token."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.lock"
        self._fd: int | None = None

    def take(self) -> bool:
        """Whether this process has it now. Never waits."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    async def acquire(self, *, within: float) -> None:
        """Wait for it, at most `within` seconds; ProfileInUse after that."""
        deadline = time.monotonic() + within
        while not self.take():
            if time.monotonic() > deadline:
                raise ProfileInUse
            await asyncio.sleep(PAUSE)

    @asynccontextmanager
    async def held(self, *, within: float) -> AsyncIterator[None]:
        """Have it for the length of a block; ProfileInUse when it cannot be had `within` these seconds."""
        await self.acquire(within=within)
        try:
            yield
        finally:
            self.release()
