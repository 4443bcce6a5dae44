"""The end of a run: nothing new is sent, what is open gets its answer, and every device comes back twice with a fresh socket until nothing waits for it."""

import asyncio
import time
from typing import Any

from tests.faults.load.device import Device
from tests.faults.load.scene import Scene

AT_ONCE = 24
PAUSE_SECONDS = 0.05
ROUNDS = 2


async def settle(scene: Scene, seconds: float) -> dict[str, Any]:
    """What is still not quiet at the end of that time; all empty when all is well."""
    until = time.monotonic() + seconds
    for device in scene.devices():
        device.is_away = False
        device.receiving.is_prompt = True
    unanswered = await _answered(scene, until)
    late: list[str] = []
    turn = asyncio.Semaphore(AT_ONCE)
    for _ in range(ROUNDS):
        late = [
            name for name in await asyncio.gather(*(_come_back(one, turn, until) for one in scene.devices())) if name
        ]
    await _patience(lambda: not _holding(scene), until)
    await _patience(lambda: all(device.receiving.has_acked for device in scene.devices()), until)
    scene.history.flush()
    return {"unanswered": unanswered, "not_empty": late, "holding": _holding(scene)}


async def _answered(scene: Scene, until: float) -> list[str]:
    await _patience(lambda: not _unanswered(scene), until)
    return _unanswered(scene)


def _unanswered(scene: Scene) -> list[str]:
    chains = (chain for device in scene.devices() for chain in device.chains.values())
    return [item.mid for chain in chains for item in chain.waiting]


def _holding(scene: Scene) -> list[str]:
    return [
        f"{device.device_id} in {conversation} at {seq}, {count} wait"
        for device in scene.devices()
        for conversation, seq, count in device.inbox.waits()
    ]


async def _come_back(device: Device, turn: asyncio.Semaphore, until: float) -> str:
    """The device's id when its queue did not become empty in time."""
    async with turn:
        before = device.session
        device.come_back()
        while time.monotonic() < until:
            session = device.session
            if session is not None and session is not before and session.is_usable and await _emptied(session):
                return "" if await _patience(lambda: device.receiving.has_acked, until) else device.device_id
            await asyncio.sleep(PAUSE_SECONDS)
    return device.device_id


async def _emptied(session: Any) -> bool:
    try:
        async with asyncio.timeout(PAUSE_SECONDS):
            await session.heard_empty.wait()
    except TimeoutError:
        return False
    return True


async def _patience(true: Any, until: float) -> bool:
    while not true():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(PAUSE_SECONDS)
    return True
