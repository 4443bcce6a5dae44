"""Arming a failpoint from outside, and hearing that it was hit: two small files in a folder that harness and workers share.

`armed.json` says which point acts, at which hit of a process, and how. The first process to reach it claims it by making `hit-<token>.json`, so
one arming acts once, in one process, also when that is killed and started again.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

Action = Literal["kill", "stop", "raise", "delay"]
ACTIONS: tuple[Action, ...] = ("kill", "stop", "raise", "delay")
ARMED = "armed.json"


class Arming(msgspec.Struct, frozen=True):
    """What a point is to do at its n-th hit. `seconds` is how long a delay takes."""

    token: str
    point: str
    action: Action
    nth: int = 1
    seconds: float = 3.0


class Hit(msgspec.Struct, frozen=True):
    """Where and when (CLOCK_MONOTONIC) it acted."""

    token: str
    point: str
    action: Action
    process: str
    pid: int
    at: float


def arm(directory: Path, arming: Arming) -> None:
    """From now on this is what the workers heed, and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / "armed.new"
    fresh.write_bytes(msgspec.json.encode(arming))
    fresh.rename(directory / ARMED)


def disarm(directory: Path) -> None:
    """Nothing acts any more."""
    (directory / ARMED).unlink(missing_ok=True)


def hit(directory: Path, token: str) -> Hit | None:
    """The hit of this arming, None while there is none."""
    try:
        return msgspec.json.decode((directory / f"hit-{token}.json").read_bytes(), type=Hit)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


class Failpoints:
    """One process's side: the places in the program ask it whether to act."""

    def __init__(self, directory: Path, process: str) -> None:
        self._directory = directory
        self._process = process
        self._turn = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._armed: Arming | None = None
        self._hits = 0

    def reach(self, point: str, failure: Callable[[], Exception]) -> None:
        """Act here if this point is armed and this is the hit. A delay holds up the thread, `raise` raises `failure()`."""
        arming = self._due(point)
        if arming is not None:
            if arming.action == "delay":
                time.sleep(arming.seconds)
            _act(arming, failure)

    async def reach_async(self, point: str, failure: Callable[[], Exception]) -> None:
        """The same; a delay holds up only the caller."""
        arming = self._due(point)
        if arming is not None:
            if arming.action == "delay":
                await asyncio.sleep(arming.seconds)
            _act(arming, failure)

    def is_armed(self, point: str) -> bool:
        """Whether this point is the one that is going to act."""
        with self._turn:
            self._look()
            return self._armed is not None and self._armed.point == point

    def _due(self, point: str) -> Arming | None:
        with self._turn:
            self._look()
            if self._armed is None or self._armed.point != point:
                return None
            self._hits += 1
            arming = self._armed
            if self._hits < arming.nth or not self._claim(arming):
                return None
            self._armed = None
            return arming

    def _look(self) -> None:
        try:
            status = os.stat(self._directory / ARMED)
        except FileNotFoundError:
            self._seen = self._armed = None
            return
        if self._seen != (status.st_ino, status.st_mtime_ns):
            self._seen = (status.st_ino, status.st_mtime_ns)
            self._armed = msgspec.json.decode((self._directory / ARMED).read_bytes(), type=Arming)
            self._hits = 0

    def _claim(self, arming: Arming) -> bool:
        """Whether this process is the one that acts; said on disk before it does."""
        happened = Hit(arming.token, arming.point, arming.action, self._process, os.getpid(), time.monotonic())
        place = self._directory / f"hit-{arming.token}.json"
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(happened))
        return True


def _act(arming: Arming, failure: Callable[[], Exception]) -> None:
    if arming.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if arming.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if arming.action == "raise":
        raise failure()
