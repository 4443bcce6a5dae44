"""`run`: start what is needed, serve, keep it running, stop it again."""

import os
import queue
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chatproject.launcher.console import say
from chatproject.launcher.errors import refuse
from chatproject.launcher.interrupts import interrupts
from chatproject.launcher.listening import base_url, listen, whole_number
from chatproject.launcher.preparing import make_first_admin, migrate
from chatproject.launcher.secret import kept_secrets
from chatproject.launcher.state import STATE, only_one, open_log
from chatproject.launcher.stores import Stores
from chatproject.launcher.supervisor import Supervisor
from chatproject.launcher.worker import Worker

RUNS_ALREADY = "Waypost runs already in this checkout; stop that one first (Ctrl-C where it was started)."


def main(_arguments: list[str]) -> int:
    """Serves until Ctrl-C or SIGTERM: 0. Stops all and raises LauncherError when it cannot go on."""
    with only_one("run", RUNS_ALREADY), listen(os.environ) as listener, _life() as life:
        return _serve(listener, life)


@contextmanager
def _life() -> Iterator[int]:
    """The read end of a pipe that closes with us, however we end."""
    life, ours = os.pipe()
    try:
        yield life
    finally:
        os.close(ours)
        os.close(life)


def _serve(listener: socket.socket, life: int) -> int:
    ends: queue.SimpleQueue[str] = queue.SimpleQueue()
    supervisor = Supervisor(give_up=ends.put)
    interrupts.hurry = supervisor.hurry
    reason = ""
    try:
        _start(supervisor, listener, life)
        reason = ends.get()
    except KeyboardInterrupt:
        say("\n  Stopping …  (Ctrl-C again hurries)")
    finally:
        supervisor.stop()
    if reason:
        refuse(reason)
    say("  Stopped. What it kept is in .state")
    return 0


def _start(supervisor: Supervisor, listener: socket.socket, life: int) -> None:
    stores = Stores(os.environ)
    secrets = kept_secrets(STATE / "secrets", os.environ)
    supervisor.start(stores.servers)
    environment = {"ENVIRONMENT": "development", **os.environ, **stores.open(), **secrets}
    migrate(environment)
    supervisor.start(_workers(listener, life, environment))
    _welcome(stores, base_url(listener))
    make_first_admin(environment)


def _workers(listener: socket.socket, life: int, environment: Mapping[str, str]) -> list[Worker]:
    number = whole_number(environment, "WEB_WORKERS", 2, smallest=1, largest=64)
    names = [f"web-{index}" for index in range(1, number + 1)]
    return [Worker(name, listener, life=life, log=open_log(name), environment=environment) for name in names]


def _welcome(stores: Stores, url: str) -> None:
    say()
    for product, purpose, place in stores.rows():
        say(f"  {product:<18} {purpose:<42} {place}")
    say()
    say(f"  Web        {url}/")
    say(f"  Admin      {url}/admin/")
    say(f"  API        {url}/api/docs")
    say(f"  WebSocket  {url.replace('http', 'ws', 1)}/ws")
    say()
    say("  Nothing is installed outside this folder; state and logs are in .state. Ctrl-C stops everything.")
    say()
