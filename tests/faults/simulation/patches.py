"""The one place where the simulation puts something in the stead of what the service takes from its surroundings.

Wall clock and chance; the channel layer and the handshake, whose real ones need Redis and threads; and what is one for a process, which here
lives with several others in one: PostgreSQL's clock guard and the announcement of what was appended.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from unittest.mock import patch

from accounts import lineage_guard, postgresql
from accounts.clocks import ClockGuard
from accounts.wire.refusals import StorageUnavailable
from conversations import log
from devices.current import CurrentDevice
from messaging import handshakes, hints, online, probing, runtime, store
from messaging.frames import MSGPACK
from messaging.handshakes import Handshake
from tests.faults.simulation.time_of_its_own import SimulatedLoop


class _GuardOfEachProcess:
    def __init__(self) -> None:
        self._guards: dict[asyncio.AbstractEventLoop, ClockGuard] = {}

    def check(self, server_ms: int) -> None:
        loop = asyncio.get_running_loop()
        self._guards.setdefault(loop, ClockGuard()).check(server_ms, steady_ms=int(loop.time() * 1000))


class _LineageOfEachProcess(lineage_guard.Guard):
    """What the process that asks knows."""

    of: dict[asyncio.AbstractEventLoop, dict[str, Any]]

    def __getattribute__(self, name: str) -> Any:
        if name not in FACTS:
            return super().__getattribute__(name)
        return self.of.get(asyncio.get_running_loop(), FACTS)[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self.of.setdefault(asyncio.get_running_loop(), dict(FACTS))[name] = value


# What a process knows before it has asked.
FACTS = dict(vars(lineage_guard.Guard()))


@contextlib.contextmanager
def _lineage_of_each_process() -> Iterator[None]:
    """The one guard, which many modules hold, is several here."""
    guard = lineage_guard.guard
    before = dict(guard.__dict__)
    guard.__class__ = _LineageOfEachProcess
    guard.__dict__.clear()
    guard.__dict__["of"] = {}
    try:
        yield
    finally:
        object.__setattr__(guard, "__class__", lineage_guard.Guard)
        guard.__dict__.clear()
        guard.__dict__.update(before)


class _SaidInEachProcess:
    """A signal, heard only in the process that says it."""

    def __init__(self) -> None:
        self._hearers: dict[asyncio.AbstractEventLoop, Callable[..., None]] = {}

    def connect(self, hearer: Callable[..., None]) -> None:
        self._hearers[asyncio.get_running_loop()] = hearer

    def disconnect(self, hearer: Callable[..., None]) -> None:
        self._hearers.pop(asyncio.get_running_loop(), None)

    def send_robust(self, sender: Any, **facts: Any) -> None:
        if hearer := self._hearers.get(asyncio.get_running_loop()):
            hearer(**facts)


class Surroundings(Protocol):
    """What the running process finds around it."""

    def wall_ns(self) -> int:
        """Its clock."""

    def pool(self, conninfo: str, **limits: Any) -> Any:
        """Connections to PostgreSQL."""

    async def ask_redis(self) -> None:
        """Whether Redis answers."""

    def store(self) -> Any:
        """The message store."""

    def layer(self) -> Any:
        """The channel layer."""


def _simulated(real: Callable[..., Any], simulated: Callable[..., Any]) -> Callable[..., Any]:
    """The simulated clock on simulated loops; other threads of the machine keep theirs."""

    def clock(*asked: Any) -> Any:
        return (simulated if isinstance(asyncio._get_running_loop(), SimulatedLoop) else real)(*asked)

    return clock


async def _check(scope: dict[str, Any]) -> Handshake:
    device = scope["device"]
    await asyncio.sleep(0)
    who = device.user_id, device.device_id, device.number, device.registration_id
    return Handshake(MSGPACK, MSGPACK, CurrentDevice(*who, is_primary=False))


async def _nobody_answers(*_: Any) -> None:
    await asyncio.sleep(0)
    raise StorageUnavailable


class _Findings(logging.Handler):
    """Errors the service logs are findings."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            said += f": {record.exc_info[1]!r}"
        self._found.append(said)


@contextlib.contextmanager
def _quiet(found: list[str]) -> Iterator[None]:
    handler = _Findings(found)
    loggers = [logging.getLogger(name) for name in ("messaging", "conversations", "accounts")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


@contextlib.contextmanager
def installed(world: "Surroundings", seed: int, found: list[str], scales: dict[Any, dict[str, Any]]) -> Iterator[None]:
    """Inside, the service lives in the simulation. `scales` are constants made small, so that small populations reach their limits."""
    state = random.getstate()
    random.seed(seed)
    try:
        with contextlib.ExitStack() as stack:
            enter = stack.enter_context
            enter(_quiet(found))
            enter(patch.object(time, "time_ns", _simulated(time.time_ns, world.wall_ns)))
            enter(
                patch.object(time, "monotonic", _simulated(time.monotonic, lambda: asyncio.get_running_loop().time()))
            )
            enter(patch.object(postgresql, "Connections", world.pool))
            enter(patch.object(store, "_configured", world.store))
            # Nobody is woken here: a push begins when all that is judged has happened.
            enter(patch.object(runtime, "configured_gateways", dict))
            enter(patch.object(hints, "layer", world.layer))
            enter(patch.object(handshakes, "check", _check))
            enter(patch.object(log, "_clock", _GuardOfEachProcess()))
            enter(patch.object(log, "appended", _SaidInEachProcess()))
            enter(patch.object(postgresql, "silent", _SaidInEachProcess()))
            enter(_lineage_of_each_process())
            enter(patch.object(probing, "Connections", world.pool))
            # Nobody is woken: pushes leave through threads, and promise nothing.
            enter(patch.object(runtime, "configured_gateways", dict))
            # Presence is promised to nobody; its Redis is away in every story.
            enter(patch.object(online.Online, "_ask", _nobody_answers))
            enter(patch.object(probing.StoreProbes, "_ask_redis", lambda _: world.ask_redis()))
            for module, constants in scales.items():
                for name, value in constants.items():
                    enter(patch.object(module, name, value))
            yield
    finally:
        random.setstate(state)
