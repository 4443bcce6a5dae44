"""Event loops in a time of their own: several processes in one thread, and every choice between them made by a seed.

Each simulated process has a `SimulatedLoop`; a `Scheduler` runs their callbacks one by one. Within one loop the order is asyncio's own (first come,
first served): a program may rely on it. Which loop goes next is chance, as it is between processes of one machine. When nobody can go
on, time jumps to the next timer: no thread, no socket, no sleeping, and a minute costs what happens in it.
"""

import asyncio
import contextlib
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

# Not zero: a machine has been up for a while when its processes start.
BEGINNING = 10_000.0


class Scheduler:
    """Time, and the loops that live in it."""

    def __init__(self, chance: random.Random) -> None:
        self.now = BEGINNING
        self.steps = 0
        self.problems: list[str] = []
        self._chance = chance
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = 0
        self._ready: list[SimulatedLoop] = []
        self.loops: list[SimulatedLoop] = []

    def loop(self, name: str, *, ahead_s: float = 0.0) -> "SimulatedLoop":
        """A new process' loop, whose wall clock is so far ahead of the others'."""
        made = SimulatedLoop(self, name, ahead_s)  # type: ignore[abstract]  # what it lacks needs a system around it
        self.loops.append(made)
        return made

    def run(self, until: Callable[[], bool], *, deadline: float) -> bool:
        """Let things happen until `until` holds: asked after each step. False if it does not by `deadline` (seconds of this time)."""
        try:
            while not until():
                if not self._step(deadline):
                    return False
        finally:
            events._set_running_loop(None)
        return True

    def _step(self, deadline: float) -> bool:
        timers = self._timers
        while timers and (timers[0][0] <= self.now or timers[0][2]._cancelled):
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                timer._loop._put(timer)  # type: ignore[attr-defined]
        if not self._ready:
            if not timers or timers[0][0] > deadline:
                return False
            self.now = max(self.now, timers[0][0])
            return True
        self.steps += 1
        index = int(self._chance.random() * len(self._ready)) if len(self._ready) > 1 else 0
        loop = self._ready[index]
        handle = loop.ready.popleft()
        if not loop.ready:
            self._ready.pop(index)
        if not handle._cancelled:
            events._set_running_loop(loop)
            handle._run()
        return True

    def _add_timer(self, handle: asyncio.TimerHandle) -> None:
        self._serial += 1
        heapq.heappush(self._timers, (handle.when(), self._serial, handle))

    def _note_ready(self, loop: "SimulatedLoop") -> None:
        self._ready.append(loop)

    def _note_idle(self, loop: "SimulatedLoop") -> None:
        if loop in self._ready:
            self._ready.remove(loop)

    def end(self) -> None:
        """Let go of everything that still waits, without running any of it."""
        for loop in self.loops:
            loop.kill()
        for loop in self.loops:
            loop.dissolve()
        self._timers.clear()


class SimulatedTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where in memory it lies."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "SimulatedLoop", **options: Any) -> None:
        # Before anything else: making a task already puts it into a set.
        loop.scheduler._serial += 1
        self._number = loop.scheduler._serial
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.AbstractEventLoop):
    """One process: what asyncio needs of a loop, and what may happen to a process."""

    def __init__(self, scheduler: Scheduler, name: str, ahead_s: float) -> None:
        self.scheduler = scheduler
        self.name = name
        self.ahead_s = ahead_s
        self.ready: deque[asyncio.Handle] = deque()
        self.is_dead = False
        self.is_stopped = False
        self._held: deque[asyncio.Handle] = deque()
        self._tasks: list[SimulatedTask] = []

    # --- what may happen to a process ------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """Nothing of it runs any more, not even what would clean up."""
        self.is_dead = True
        self.scheduler._note_idle(self)
        self.ready.clear()
        self._held.clear()

    def stop_process(self) -> None:
        """As SIGSTOP: time goes on, nothing runs."""
        if not self.is_dead:
            self.is_stopped = True
            self.scheduler._note_idle(self)
            self._held.extend(self.ready)
            self.ready.clear()

    def wake_process(self) -> None:
        """As SIGCONT: everything that should have happened meanwhile happens now."""
        self.is_stopped = False
        held, self._held = self._held, deque()
        for handle in held:
            self._put(handle)

    def _put(self, handle: asyncio.Handle) -> None:
        if self.is_dead:
            return
        if self.is_stopped:
            self._held.append(handle)
            return
        if not self.ready:
            self.scheduler._note_ready(self)
        self.ready.append(handle)

    def dissolve(self) -> None:
        """Close the coroutines of a dead process; what their cleanup does reaches nobody."""
        events._set_running_loop(self)
        try:
            for task in self._tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    _close(task.get_coro())
        finally:
            events._set_running_loop(None)
        self._tasks.clear()

    # --- what asyncio needs ----------------------------------------------------------------------------------------------------

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def time(self) -> float:
        return self.scheduler.now

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # no TypeVarTuple
        handle = asyncio.Handle(callback, args, self, context)
        self._put(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there are no threads

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.scheduler.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.is_dead:
            self.scheduler._add_timer(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """The scheduler passes over cancelled timers."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        task = SimulatedTask(coro, loop=self, name=name or "", context=context)
        self._tasks.append(task)
        if len(self._tasks) > 200:
            self._tasks = [task for task in self._tasks if not task.done()]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An exception nobody took: in a living process that is a finding."""
        if not self.is_dead:
            failure = context.get("exception")
            self.scheduler.problems.append(f"{self.name}: {context.get('message')}: {failure!r}")


def _close(coroutine: Any) -> None:
    """Whatever a dead process' cleanup raises, nobody is there to hear it."""
    with contextlib.suppress(BaseException):
        coroutine.close()
