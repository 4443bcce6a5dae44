"""`run`: start what is needed, serve, keep it running, stop it again."""

import os
import queue
import signal
import socket

from chatproject.launcher.console import say
from chatproject.launcher.errors import refuse
from chatproject.launcher.interrupts import interrupts
from chatproject.launcher.leftovers import carrying, end_leftovers
from chatproject.launcher.listening import base_url, listen, whole_number
from chatproject.launcher.preparing import make_first_admin, migrate
from chatproject.launcher.secret import kept_secrets
from chatproject.launcher.state import CHECKOUT, STATE, only_one, open_log
from chatproject.launcher.stores import Stores
from chatproject.launcher.supervisor import Supervisor
from chatproject.launcher.worker import Worker, lifeline

MARK = "WAYPOST_RUN"
LOCK = "run"
RESTART = None
ORPHAN_PATIENCE_SECONDS = 3.0
RUNS_ALREADY = "Waypost runs already in this checkout; stop that one first (Ctrl-C where it was started)."


def main(_arguments: list[str]) -> int:
    """Serves until Ctrl-C or SIGTERM: 0. SIGUSR2 restarts the web workers, one after the other. Stops all and raises LauncherError when it cannot go on."""
    with only_one(LOCK, RUNS_ALREADY):
        workers = whole_number(os.environ, "WEB_WORKERS", 2, smallest=1, largest=64)
        # A web worker that a killed launcher left behind may still hold the port.
        end_leftovers(lambda: carrying(f"{MARK}={CHECKOUT}"), signal.SIGTERM, ORPHAN_PATIENCE_SECONDS)
        with listen(os.environ) as listener, lifeline() as life:
            return _serve(workers, listener, life)


def _serve(workers: int, listener: socket.socket, life: int) -> int:
    asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    supervisor = Supervisor(give_up=asked.put)
    reason: str | None = ""
    interrupts.on_restart(lambda: asked.put(RESTART))
    try:
        web = _start(supervisor, workers, listener, life)
        while (reason := asked.get()) is RESTART:
            supervisor.restart_in_turn(web)
    except KeyboardInterrupt:
        say("\n  Stopping …  (Ctrl-C again hurries)")
    finally:
        interrupts.only_hurry(supervisor.hurry)
        supervisor.stop()
    if reason:
        refuse(reason)
    say("  Stopped. What it kept is in .state")
    return 0


def _start(supervisor: Supervisor, workers: int, listener: socket.socket, life: int) -> list[Worker]:
    stores = Stores(os.environ)
    secrets = kept_secrets(STATE / "secrets", os.environ)
    supervisor.start(stores.servers)
    url = base_url(listener)
    defaults = {"ENVIRONMENT": "development", "METRICS_DIR": str(STATE / "metrics"), "CHECKUP_URL": url}
    environment = {**defaults, **os.environ, **stores.open(), **secrets, MARK: str(CHECKOUT)}
    migrate(environment)
    names = [f"web-{number}" for number in range(1, workers + 1)]
    web = [Worker(name, listener, life=life, log=open_log(name), environment=environment) for name in names]
    supervisor.start(web)
    _welcome(stores, url)
    make_first_admin(environment)
    return web


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
    say("  State and logs are in .state. Ctrl-C stops everything.")
    say()
