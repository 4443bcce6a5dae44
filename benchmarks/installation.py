"""Web workers on a port of their own, as the launcher starts them; but a worker that dies here stays dead, and the run fails."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from chatproject.launcher.listening import listen
from chatproject.launcher.state import open_log
from chatproject.launcher.together import start_together, stop_together
from chatproject.launcher.worker import COMMAND, Worker, lifeline


@dataclass(frozen=True)
class Installation:
    """Running web workers."""

    host: str
    port: int
    pids: list[int]


@contextmanager
def web_workers(environment: Mapping[str, str], count: int, command: Sequence[str] = COMMAND) -> Iterator[Installation]:
    """Workers that answer; they are stopped in good order afterwards."""
    with listen({"HOST": "127.0.0.1", "PORT": "0"}) as listener, lifeline() as life:
        workers = [_worker(number, listener, life, environment, command) for number in range(1, count + 1)]
        start_together(workers)
        try:
            host, port = listener.getsockname()
            yield Installation(host, port, [worker.pid for worker in workers if worker.pid])
        finally:
            stop_together(workers)


def _worker(
    number: int, listener: socket.socket, life: int, environment: Mapping[str, str], command: Sequence[str]
) -> Worker:
    name = f"bench-web-{number}"
    return Worker(name, listener, life=life, log=open_log(name), environment=environment, command=command)
