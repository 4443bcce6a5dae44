"""The catalogue of what is done to an installation. A fault begins and ends; in between it lasts a while."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import redis

from chatproject.launcher.errors import refuse
from tests.faults.installation import Handle, Installation
from tests.faults.installation.disks import fill, free
from tests.faults.nemesis.clocks import WrongClock
from tests.faults.nemesis.proxy import BLACK_HOLE, Link, Proxies, Weather
from tests.faults.nemesis.routes import WEB

# A node of Cassandra that starts beside two others on a busy machine.
BACK_SECONDS = 240.0
SHORT, LONG = (0.5, 3.0), (5.0, 15.0)
# Smaller ones would test the proxy.
PIECE_BYTES = 50
Span = tuple[float, float]


def _nothing() -> None:
    """A fault that is over as soon as it has begun."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`begin` does it, `end` takes it back at once, and when `wait` has returned, what was killed answers again. `span`: seconds in between.

    Of two faults that come together both have to be taken back before either is waited for: a stopped server does not come back from a restart.
    """

    kind: str
    target: str
    begin: Callable[[], None]
    end: Callable[[], None] = _nothing
    wait: Callable[[], None] | None = None
    span: Span = SHORT
    # A web worker, or the way to it, cannot answer meanwhile.
    freezes: bool = False


def catalogue(installation: Installation, proxies: Proxies, clock: WrongClock | None) -> list[Fault]:
    """Everything that can be done to this installation here."""
    faults = [*_workers(installation), *_valkey(installation), *_postgresql(installation), *_cassandra(installation)]
    faults += [fault for link in proxies.links.values() for fault in _network(link)]
    if installation.plan.disk_megabytes:
        faults += _disks(installation)
    if clock is not None:
        faults += _clock(clock, installation.workers[-1].name)
    return faults


def kinds(faults: Sequence[Fault]) -> list[str]:
    """The kinds there are, each once."""
    return list(dict.fromkeys(fault.kind for fault in faults))


# --- processes -------------------------------------------------------------------------------------------------------------------


def _killed(kind: str, child: Handle, sign: signal.Signals = signal.SIGKILL, span: Span = SHORT) -> Fault:
    """Gone by a signal, and started again by its supervisor."""
    back = _Back([child])
    return Fault(
        kind=kind, target=child.name, begin=lambda: back.after(lambda: child.send(sign)), wait=back.wait, span=span
    )


def _stopped(kind: str, child: Handle, span: Span = LONG) -> Fault:
    return Fault(kind=kind, target=child.name, begin=child.suspend, end=child.resume, span=span)


def _away(kind: str, children: Sequence[Handle], span: Span = LONG) -> Fault:
    """Killed, and not started again for a while."""
    back = _Back(children)

    def begin() -> None:
        for child in children:
            child.keep_away()
        back.after(lambda: _kill(children))

    def end() -> None:
        for child in children:
            child.let_back()

    target = ", ".join(child.name for child in children)
    return Fault(kind=kind, target=target, begin=begin, end=end, wait=back.wait, span=span)


def _kill(children: Sequence[Handle]) -> None:
    for child in children:
        child.kill()


class _Back:
    """Waits until children that leave now have come back."""

    def __init__(self, children: Sequence[Handle]) -> None:
        self._children = children
        self._starts: list[int] = []

    def after(self, leave: Callable[[], object]) -> None:
        self._starts = [child.starts for child in self._children]
        leave()

    def wait(self) -> None:
        for child, starts in zip(self._children, self._starts, strict=True):
            if not child.await_start(starts + 1, BACK_SECONDS):
                refuse(f"{child.name} did not come back within {BACK_SECONDS:.0f} s; see {child.log}")


def _workers(installation: Installation) -> Iterator[Fault]:
    for worker in installation.workers:
        yield _killed("worker killed", worker)
        yield replace(_stopped("worker stopped", worker, (5.0, 30.0)), freezes=True)
        yield _killed("worker restarted", worker, signal.SIGTERM)
    # Their socket goes on taking connections, and nobody is there to answer until one is back.
    yield replace(_away("all workers killed", installation.workers, SHORT), freezes=True)
    for finisher in installation.finishers:
        yield _killed("finisher killed", finisher)
        yield _stopped("finisher stopped", finisher, (5.0, 30.0))


def _valkey(installation: Installation) -> Iterator[Fault]:
    valkey, socket = installation.valkey, installation.stores.valkey.socket
    yield _killed("Valkey killed", valkey)
    yield _stopped("Valkey stopped", valkey)
    yield _away("Valkey away", [valkey])
    yield Fault(kind="Valkey emptied", target=valkey.name, begin=lambda: _tell(socket, "FLUSHALL"))
    yield Fault(
        kind="Valkey drops subscribers",
        target=valkey.name,
        begin=lambda: _tell(socket, "CLIENT", "KILL", "TYPE", "pubsub"),
    )
    yield Fault(
        kind="Valkey full",
        target=valkey.name,
        begin=lambda: _tell(socket, "CONFIG", "SET", "maxmemory", "1"),
        end=lambda: _tell(socket, "CONFIG", "SET", "maxmemory", "0"),
        span=LONG,
    )


def _tell(socket: Path, *command: str) -> None:
    with redis.Redis(unix_socket_path=str(socket), socket_timeout=5) as client:
        client.execute_command(*command)


def _postgresql(installation: Installation) -> Iterator[Fault]:
    server = installation.postgres
    yield _killed("PostgreSQL killed", server)
    yield _killed("PostgreSQL stopped at once", server, signal.SIGQUIT)
    yield _killed("PostgreSQL restarted", server, signal.SIGINT)
    yield _stopped("PostgreSQL stands still", server)
    yield _away("PostgreSQL away", [server], (10.0, 30.0))
    yield Fault(kind="PostgreSQL backend killed", target=server.name, begin=lambda: _kill_backend(server))
    backend = _OneBackend(server)
    yield Fault(
        kind="PostgreSQL backend stopped", target=server.name, begin=backend.suspend, end=backend.resume, span=LONG
    )


def _backends(server: Handle) -> list[psutil.Process]:
    """Those that serve clients, busy ones first: their title says what they do."""
    titles = {process: _title(process) for process in server.processes()[1:]}
    serving = [process for process, title in titles.items() if "waypost" in title]
    return sorted(serving, key=lambda process: "idle" in titles[process])


def _title(process: psutil.Process) -> str:
    """What it does; nothing, if it has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _kill_backend(server: Handle) -> None:
    for backend in _backends(server)[:1]:
        with suppress(psutil.NoSuchProcess):
            backend.kill()


class _OneBackend:
    """Stopped inside its transaction, if it is in one."""

    def __init__(self, server: Handle) -> None:
        self._server = server
        self._process: psutil.Process | None = None

    def suspend(self) -> None:
        for backend in _backends(self._server)[:1]:
            with suppress(psutil.NoSuchProcess):
                backend.suspend()
                self._process = backend

    def resume(self) -> None:
        if self._process is not None and self._process.is_running():
            self._process.resume()


def _cassandra(installation: Installation) -> Iterator[Fault]:
    for node in installation.nodes:
        yield _killed("Cassandra killed", node)
        yield _stopped("Cassandra stopped", node, (5.0, 20.0))
        yield _killed("Cassandra restarted", node, signal.SIGTERM)
        yield _away("Cassandra away", [node])
    if len(installation.nodes) == 3:
        yield _away("two Cassandra nodes away", installation.nodes[1:])


# --- network, disk, clock --------------------------------------------------------------------------------------------------------


def _network(link: Link) -> Iterator[Fault]:
    bad = {
        "slow network": Weather(latency=0.05, jitter=0.03),
        "very slow network": Weather(latency=0.5, jitter=0.2),
        "narrow network": Weather(bandwidth=16 * 1024),
        "black hole": BLACK_HOLE,
        "deaf server": Weather(to_server=False),
        "deaf client": Weather(to_client=False),
        "network in pieces": Weather(piece=PIECE_BYTES),
    }
    for kind, weather in bad.items():
        yield Fault(
            kind=kind,
            target=link.name,
            begin=partial(link.set, weather),
            end=link.clear,
            span=LONG,
            freezes=link.name == WEB,
        )
    yield Fault(kind="connections cut", target=link.name, begin=lambda: _ignore(link.cut()))
    yield Fault(
        kind="connections half closed",
        target=link.name,
        begin=lambda: _ignore(link.half_close()),
        end=lambda: _ignore(link.cut()),
    )


def _ignore(_: int) -> None:
    """How many there were is nobody's business here."""


def _disks(installation: Installation) -> Iterator[Fault]:
    for server, child in zip(
        (installation.stores.postgres, *installation.stores.nodes),
        (installation.postgres, *installation.nodes),
        strict=True,
    ):
        kind = "PostgreSQL's disk full" if child is installation.postgres else "Cassandra's disk full"
        yield Fault(
            kind=kind,
            target=child.name,
            begin=partial(fill, server.directory),
            end=partial(free, server.directory),
            wait=partial(_back_from_full_disk, child),
            span=(10.0, 20.0),
        )


def _back_from_full_disk(child: Handle) -> None:
    """A server that the full disk has ended is back as soon as it can be."""
    starts = child.starts
    if not child.alive() and not child.await_start(starts + 1, BACK_SECONDS):
        refuse(f"{child.name} did not come back within {BACK_SECONDS:.0f} s of having room; see {child.log}")


def _clock(clock: WrongClock, target: str) -> Iterator[Fault]:
    for seconds, words in (
        (300, "5 minutes ahead"),
        (-300, "5 minutes behind"),
        (3600, "an hour ahead"),
        (-3600, "an hour behind"),
    ):
        yield Fault(
            kind=f"clock {words}",
            target=target,
            begin=partial(clock.shift, seconds),
            end=partial(clock.shift, 0),
            span=LONG,
        )
