"""How the load is spoken to: a command a line on stdin, JSON lines on stdout.

Commands, `{"do": …, "id": …}`; the answer repeats `id`:

* `found`: sign everybody in, found the conversations, connect. Answers `founded` when all devices are connected.
* `begin`, `pause`: talk and live, or do not. A paused load stays connected and answers what it is asked.
* `status`: a `status` line now.
* `manner {slow?, silent?, mad?}`: how many devices read slowly or never acknowledge; whether the mad clients are mad.
* `settle {seconds}`: stop, answer what is open, come back twice. Answers `quiet` with what is not.
* `markers`: write the file of planted secrets. Answers how many.
* `quit`.

Without being asked it says `status` every half second, of the time since the last one: `in_flight` (attempts without an answer), `waiting` (messages
without a definite one), counts, latencies of sends (from the wish to `sent`) and deliveries (to those connected), how many are connected.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tests.faults.load import markers, population, settling
from tests.faults.load.life import Life
from tests.faults.load.misbehaving import Mad, Misbehaving
from tests.faults.load.plan import Plan
from tests.faults.load.scene import Scene
from tests.faults.load.talking import Talking

STATUS_SECONDS = 0.5
CONNECT_SECONDS = 60.0
SETTLE_SECONDS = 120.0
CLOSING_SECONDS = 0.2
Json = dict[str, Any]


class Load:
    """One run, from outside."""

    def __init__(self, plan: Plan) -> None:
        self.scene = Scene(plan)
        self._life = Life(self.scene)
        self._bad = Misbehaving(self.scene)
        self._mad = [Mad(self.scene, number) for number in range(plan.mad)]
        self._tasks: list[asyncio.Task[None]] = []

    async def found(self) -> Json:
        await population.settle_in(self.scene)
        runs = [Talking(self.scene).run(), self._life.run(), self._bad.run(), *(mad.run() for mad in self._mad)]
        self._tasks = [asyncio.create_task(run) for run in runs]
        until = time.monotonic() + CONNECT_SECONDS
        while not all(device.was_connected for device in self.scene.devices()) and time.monotonic() < until:  # noqa: ASYNC110  (many flags)
            await asyncio.sleep(0.05)
        return {"type": "founded", "connected": self._connected(), "devices": len(self.scene.devices())}

    def begin(self) -> Json:
        self.scene.is_sending = self.scene.is_living = True
        return {"type": "begun"}

    async def pause(self) -> Json:
        """Afterwards no message is made and no change is under way."""
        self.scene.is_sending = self.scene.is_living = False
        await self._life.settle()
        return {"type": "paused"}

    def manner(self, command: Json) -> Json:
        for name in ("slow", "silent"):
            if name in command:
                self._bad.wanted[name] = int(command[name])
        for mad in self._mad:
            mad.is_on = bool(command.get("mad", mad.is_on))
        return {"type": "mannered"}

    async def settle(self, seconds: float) -> Json:
        await self.pause()
        self._bad.mend()
        left = await settling.settle(self.scene, seconds)
        is_quiet = not any(left.values())
        return {"type": "quiet", "ok": is_quiet} | left | self.summary()

    def status(self) -> Json:
        chains = [chain for device in self.scene.devices() for chain in device.chains.values()]
        opened = [item.tried_at for chain in chains for item in chain.open]
        now = time.monotonic()
        return {
            "type": "status",
            "at": now,
            "in_flight": len(opened),
            "oldest": round(now - min(opened), 3) if opened else 0.0,
            "waiting": sum(len(chain.waiting) for chain in chains),
            "connected": self._connected(),
            "devices": len(self.scene.devices()),
            **self.scene.figures.counts,
            **self.scene.figures.latencies(),
        }

    def mark(self) -> Json:
        return {"type": "marked", "count": markers.write(self.scene)}

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(device.stop() for device in [*self.scene.devices(), *self.scene.retired]))
        for session in list(self.scene.sessions):
            session.cut()
        await self.scene.web.close()
        # What was cut is closed in one of the loop's next turns.
        await asyncio.sleep(CLOSING_SECONDS)
        markers.write(self.scene)
        self.scene.history.close()

    def check(self) -> None:
        """Raise what ended one of the tasks that never end."""
        for task in self._tasks:
            if task.done():
                task.result()

    def summary(self) -> Json:
        figures = self.scene.figures
        return {
            "counts": figures.counts,
            "closed": figures.closed,
            "errors": figures.errors,
            "anomalies": figures.anomalies,
        }

    def _connected(self) -> int:
        return sum(device.is_connected for device in self.scene.devices())


async def converse(load: Load, commands: asyncio.StreamReader) -> None:
    """Answer commands until `quit` or the end of stdin."""
    talking = asyncio.create_task(_report(load))
    try:
        while line := await commands.readline():
            command = msgspec.json.decode(line)
            if command["do"] == "quit":
                break
            say(await _obey(load, command) | {"id": command.get("id")})
    finally:
        talking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await talking
        await load.close()
        say({"type": "ended"} | load.summary())


async def _obey(load: Load, command: Json) -> Json:
    at_once: dict[str, Callable[[], Json]] = {
        "begin": load.begin,
        "status": load.status,
        "manner": lambda: load.manner(command),
        "markers": load.mark,
    }
    in_time: dict[str, Callable[[], Awaitable[Json]]] = {
        "found": load.found,
        "pause": load.pause,
        "settle": lambda: load.settle(float(command.get("seconds", SETTLE_SECONDS))),
    }
    do = str(command["do"])
    if do in at_once:
        return at_once[do]()
    return await in_time[do]() if do in in_time else {"type": "unknown", "do": do}


async def _report(load: Load) -> None:
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        load.check()
        say(load.status())


def say(answer: Json) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()
