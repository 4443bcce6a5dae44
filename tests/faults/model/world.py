"""Tasks that are interleaved by somebody's choice, in steps; workers that die and stop.

A task is a generator. Between two `yield`s nothing else happens; `yield None` lets others go on, `yield condition` waits for it.
"""

from collections.abc import Callable, Generator

import msgspec

Condition = Callable[[], bool]
Steps = Generator[Condition | None, None, None]
Choose = Callable[[int], int]
MOST_STEPS = 50_000


class Worker(msgspec.Struct, eq=False):
    """One process. `ahead`: how far its clock is."""

    name: str
    ahead: int = 0
    is_alive: bool = True
    is_stopped: bool = False


class Task(msgspec.Struct, eq=False):
    """One task; of a worker, and perhaps of one of its sockets."""

    steps: Steps
    worker: Worker | None = None
    socket: object = None
    condition: Condition | None = None

    @property
    def is_ready(self) -> bool:
        if self.worker is not None and self.worker.is_stopped:
            return False
        return self.condition is None or self.condition()


class World:
    """Everything that runs, and the clock: one tick a step."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.clock = 0
        self._tasks: list[Task] = []
        self._alarms: list[int] = []

    def start(self, steps: Steps, worker: Worker | None = None, socket: object = None) -> None:
        self._tasks.append(Task(steps, worker, socket))

    def at(self, moment: int) -> Condition:
        """True from this moment on. When nothing else can happen the clock jumps there."""
        self._alarms.append(moment)
        return lambda: self.clock >= moment

    def run(self) -> None:
        """Until nothing can happen any more."""
        for _ in range(MOST_STEPS):
            ready = [task for task in self._tasks if task.is_ready]
            if ready:
                self._step(ready[self.choose(len(ready))])
            elif not self._jump():
                return
        raise RuntimeError("The model does not come to rest.")

    def _step(self, task: Task) -> None:
        self.clock += 1
        try:
            task.condition = next(task.steps)
        except StopIteration:
            if task in self._tasks:
                self._tasks.remove(task)

    def _jump(self) -> bool:
        later = [moment for moment in self._alarms if moment > self.clock]
        self._alarms = later
        if later:
            self.clock = min(later)
        return bool(later)

    def end(self, *, worker: Worker | None = None, socket: object = None) -> None:
        """End all tasks of a worker, or of a socket, where they stand."""
        ended = [
            task
            for task in self._tasks
            if (worker is not None and task.worker is worker) or (socket is not None and task.socket is socket)
        ]
        for task in ended:
            self._tasks.remove(task)
            task.steps.close()
