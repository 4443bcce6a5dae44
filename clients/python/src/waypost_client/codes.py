"""Where the code of a registration comes from: a person, or the file a development server writes its messages to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from .errors import NoCode

CodeSource = Callable[[], Awaitable[str]]
# Awaited only when the account wants a PIN, with the tries that are left if the one before was wrong; None: nobody knows it.
PinSource = Callable[[int | None], Awaitable[str | None]]
# Told that the code was wrong, and how many tries are left, before the source is asked again.
Mistyped = Callable[[int], None]
PATIENCE = 60.0
PAUSE = 0.1


def from_file(path: Path, phone: str, *, patience: float = PATIENCE) -> CodeSource:
    """The first code for this number that is written to the file after this call. NoCode when none comes in time."""
    already = path.stat().st_size if path.exists() else 0

    async def read() -> str:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if code := _newest(path, phone, already):
                return code
            await asyncio.sleep(PAUSE)
        raise NoCode

    return read


def _newest(path: Path, phone: str, start: int) -> str | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(start)
        complete = file.read().rpartition(b"\n")[0]
    codes = [
        entry["code"] for entry in map(_entry, complete.splitlines()) if entry.get("to") == phone and "code" in entry
    ]
    return str(codes[-1]) if codes else None


def _entry(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
