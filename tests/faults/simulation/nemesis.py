"""What happens to an installation: which faults there are, when they come, and how they end. All chosen by the world's seed."""

from collections.abc import Callable
from functools import partial
from typing import Any

from messaging import runtime
from tests.faults import history
from tests.faults.simulation.workers import Worker
from tests.faults.simulation.world import World

End = Callable[[], None]
# While these last a process may not answer at all.
FREEZING = ("stop", "restart")


class Nemesis:
    """Does things to a world, and puts everything right again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._network = world.network
        self._under_way: dict[str, End] = {}
        self._count = 0
        self.kinds: dict[str, Callable[[], tuple[str, End] | None]] = {
            "kill": self.kill,
            "stop": self.stop,
            "restart": self.restart,
            "store_down": self.store_down,
            "store_flaky": self.store_flaky,
            "store_slow": self.store_slow,
            "postgresql_crash": self.postgresql_crash,
            "postgresql_stop": self.postgresql_stop,
            "postgresql_flaky": self.postgresql_flaky,
            "hints_lost": self.hints_lost,
            "redis_down": self.redis_down,
            "storm": self.storm,
            "cuts": self.cuts,
        }

    def plan(self, kind: str, at: float, lasts: float) -> None:
        """Have this fault begin so many seconds from now: by the clock, or just after something is committed then."""
        begin = partial(self._begin, kind, lasts)
        if kind in ("kill", "storm", "cuts", "stop", "postgresql_crash") and self._world.chance.random() < 0.7:
            delay = self._world.chance.random() ** 3 * 0.05
            self._world.later(at, self._after_commit, lambda: self._world.later(delay, begin))
        else:
            self._world.later(at, begin)

    def _after_commit(self, begin: End) -> None:
        self._world.server.after_commit.append(begin)

    def _begin(self, kind: str, lasts: float) -> None:
        if self._world.has_ended:
            return
        begun = self.kinds[kind]()
        if begun is None:
            return
        target, end = begun
        self._count += 1
        fault = f"{kind}/{self._count}"
        self._under_way[fault] = end
        self.note(fault, kind, target)
        self._world.later(lasts, self._end, fault)

    def note(self, fault: str, kind: str, target: str) -> None:
        """Write into the history that a fault begins."""
        in_flight, freezes = self._world.in_flight(), kind in FREEZING
        self._world.at(history.FaultOn, fault=fault, kind=kind, target=target, in_flight=in_flight, freezes=freezes)

    def handicap(self, kind: str, target: str) -> None:
        """Something is amiss with one of them all the time, until everything is healed."""
        fault = f"{kind}/{target}"
        self._under_way[fault] = _nothing
        self.note(fault, kind, target)

    def _end(self, fault: str) -> None:
        end = self._under_way.pop(fault, None)
        if end is not None:
            end()
            self._world.at(history.FaultOff, fault=fault)

    def heal(self) -> None:
        """End everything; whoever is dead is started again."""
        self._world.server.after_commit.clear()
        for fault in list(self._under_way):
            self._end(fault)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way that ends by itself."""
        return all(end is _nothing for end in self._under_way.values())

    # --- processes -------------------------------------------------------------------------------------------------------------

    def _worker(self) -> Worker | None:
        running = [worker for worker in self._world.workers if worker.is_alive and not worker.loop.is_stopped]
        return self._world.chance.choice(running) if running else None

    def kill(self) -> tuple[str, End] | None:
        worker = self._worker()
        if worker is None:
            return None
        worker.kill()
        return worker.name, worker.start

    def stop(self) -> tuple[str, End] | None:
        worker = self._worker()
        if worker is None:
            return None
        loop = worker.loop
        loop.stop_process()
        return worker.name, loop.wake_process

    def restart(self) -> tuple[str, End] | None:
        """SIGTERM: sockets are sent away, what is committed is finished; then the process is started again."""
        worker = self._worker()
        if worker is None or len([one for one in self._world.workers if one.is_alive]) < 2:
            return None
        worker.is_alive = False
        worker.loop.create_task(_leave())
        return worker.name, partial(_start_again, worker)

    # --- stores ----------------------------------------------------------------------------------------------------------------

    def _weather(self, **changes: Any) -> End:
        """Of two that change the same, the later one holds; when either ends, it is fine again."""
        for name, value in changes.items():
            setattr(self._network, name, value)
        return partial(self._network.calm, *changes)

    def store_down(self) -> tuple[str, End]:
        return "store", self._weather(store_is_down=True)

    def store_flaky(self) -> tuple[str, End]:
        return "store", self._weather(store_fails=self._network.between(0.05, 0.5))

    def store_slow(self) -> tuple[str, End]:
        return "store", self._weather(slow_store=self._network.between(20, 800))

    def postgresql_crash(self) -> tuple[str, End]:
        self._world.server.crash()
        return "postgresql", self._world.server.start

    def postgresql_stop(self) -> tuple[str, End]:
        loop = self._world.server.loop
        loop.stop_process()
        return "postgresql", loop.wake_process

    def postgresql_flaky(self) -> tuple[str, End]:
        return "postgresql", self._weather(
            lost_requests=self._network.between(0.0, 0.1),
            lost_answers=self._network.between(0.0, 0.1),
            slow_postgresql=self._network.between(1, 60),
        )

    def hints_lost(self) -> tuple[str, End]:
        lost = self._network.between(0.3, 1.0)
        return "redis", self._weather(lost_hints=lost, doubled_hints=0.3, slow_hints=self._network.between(1, 300))

    def redis_down(self) -> tuple[str, End] | None:
        if self._network.hints_are_down:
            return None
        self._world.bus.go_down()
        return "redis", self._world.bus.come_back

    # --- clients ---------------------------------------------------------------------------------------------------------------

    def storm(self) -> tuple[str, End]:
        """Everybody's connection breaks at once."""
        for _, device in sorted(self._world.devices.items()):
            device.cut()
        return "everybody", _nothing

    def cuts(self) -> tuple[str, End]:
        """One device's connection breaks again and again."""
        device = self._world.chance.choice(sorted(self._world.devices.values(), key=lambda device: device.device_id))
        for _ in range(4):
            self._world.later(self._network.between(0.0, 2.0), device.cut)
        return device.name, _nothing


def _nothing() -> None:
    pass


def _start_again(worker: Worker) -> None:
    if not worker.is_alive:
        worker.kill()
        worker.start()


async def _leave() -> None:
    await runtime.farewell()
    await runtime.stop()
