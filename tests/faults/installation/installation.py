"""A whole private installation whose children may be harmed: stores, web workers on one socket, finishers, all under the launcher's own supervisor."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chatproject.launcher.bootstrap import PYTHON
from chatproject.launcher.errors import refuse
from chatproject.launcher.listening import listen
from chatproject.launcher.preparing import migrate
from chatproject.launcher.secret import fresh_secrets
from chatproject.launcher.supervisor import Supervisor
from chatproject.launcher.worker import Worker, lifeline
from tests.faults.installation.disks import small_disks
from tests.faults.installation.handles import Handle
from tests.faults.installation.program import Program
from tests.faults.installation.stores import Stores, await_together, cluster_url, stores_in
from tests.faults.warden import MARK, warden

WORKER = (str(PYTHON), "-m", "tests.faults.worker")
DATABASES = ("waypost", "waypost_messages")
# A load generator is no ordinary client.
UNLIMITED = (
    *(
        "OTP_DELAYS",
        "OTP_PER_NUMBER_DAY",
        "OTP_PER_IP_HOUR",
        "SEND_BURST",
        "SEND_PER_SECOND",
        "CONVERSATION_PER_SECOND",
        "FRAMES_BURST",
    ),
    *(
        "FRAMES_PER_SECOND",
        "HANDSHAKES_PER_MIN",
        "BUNDLES_PER_10_MIN",
        "BUNDLES_PER_TARGET_HOUR",
        "CONVERSATIONS_PER_HOUR",
        "ADDS_PER_HOUR",
        "LINKS_PER_HOUR",
    ),
    *("LOOKUPS_PER_15_MIN", "HTTP_PER_MIN"),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is wanted. `disk_megabytes`: each store that writes has its data on a file system of its own, so large; only root can have that."""

    directory: Path
    layout: str
    workers: int = 2
    finishers: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    # For one worker alone, by its name.
    special: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    command: Sequence[str] = WORKER
    disk_megabytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A running installation."""

    plan: Plan
    stores: Stores
    listener: socket.socket
    environment: Mapping[str, str]
    direct: Mapping[str, str]
    postgres: Handle
    valkey: Handle
    nodes: Sequence[Handle]
    workers: Sequence[Handle]
    finishers: Sequence[Handle]
    deaths: list[str]

    @property
    def host(self) -> str:
        return str(self.listener.getsockname()[0])

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def sms(self) -> Path:
        """Where codes are written."""
        return self.plan.directory / "sms.jsonl"

    @property
    def logs(self) -> list[Path]:
        return [child.log for child in self.children]

    @property
    def children(self) -> list[Handle]:
        return [self.postgres, self.valkey, *self.nodes, *self.workers, *self.finishers]

    def child(self, name: str) -> Handle:
        """The child of that name. KeyError."""
        return {child.name: child for child in self.children}[name]


Reroute = Callable[[Stores, Mapping[str, str]], Mapping[str, str]]


def _as_it_is(_: Stores, direct: Mapping[str, str]) -> Mapping[str, str]:
    return direct


@contextmanager
def running(plan: Plan, *, reroute: Reroute = _as_it_is, proxied: bool = False) -> Iterator[Installation]:
    """An empty installation that answers. However we end, all of it ends.

    `reroute` may put proxies between the application and its stores: it gets the stores before they run and the environment that leads straight
    to them, and returns the one the application gets. `proxied`: Cassandra's drivers are told the addresses proxies listen at.
    """
    stores = stores_in(plan.directory, plan.layout, proxied=proxied)
    logs = plan.directory / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    (plan.directory / "sms.jsonl").unlink(missing_ok=True)
    with ExitStack() as stack:
        stack.enter_context(small_disks(stores, plan.disk_megabytes))
        for server in stores.servers:
            server.log = logs / f"{server.name.lower().replace(' ', '-')}.log"
            server.clear()
        listener = stack.enter_context(listen({"HOST": "127.0.0.1", "PORT": "0"}))
        life = stack.enter_context(lifeline())
        stack.enter_context(warden(str(plan.directory), stores.servers, life))
        direct = _environment(plan, stores)
        environment = reroute(stores, direct)
        deaths: list[str] = []
        supervisor = Supervisor(deaths.append, is_patient=True, tell=_silent)
        stack.callback(_forget, stores)
        stack.callback(supervisor.stop)
        postgres, valkey, *nodes = [Handle(server) for server in stores.servers]
        _start_stores(supervisor, [postgres, valkey], nodes, stores, proxied=proxied)
        migrate(environment)
        workers = [Handle(_worker(number, plan, listener, life, environment)) for number in range(1, plan.workers + 1)]
        finishers = [Handle(_finisher(number, plan, environment)) for number in range(1, plan.finishers + 1)]
        supervisor.start([*workers, *finishers])
        yield Installation(
            plan=plan,
            stores=stores,
            listener=listener,
            environment=environment,
            direct=direct,
            postgres=postgres,
            valkey=valkey,
            nodes=nodes,
            workers=workers,
            finishers=finishers,
            deaths=deaths,
        )
    if deaths:
        refuse(f"The installation did not survive: {deaths[0]}")


def _start_stores(
    supervisor: Supervisor, first: list[Handle], nodes: Sequence[Handle], stores: Stores, *, proxied: bool
) -> None:
    supervisor.start([*first, *nodes[:1]])
    if len(nodes) > 1:
        supervisor.start(nodes[1:])
    if nodes:
        await_together(stores.nodes, proxied=proxied)
    for database in DATABASES:
        stores.postgres.create_database(database)


def _environment(plan: Plan, stores: Stores) -> dict[str, str]:
    """What leads the application straight to its stores."""
    ours = ("_URL", "_KEY", "_KEYS", "_PEPPER", "_PID", "DJANGO_SETTINGS_MODULE")
    given = {name: value for name, value in os.environ.items() if not name.endswith(ours)}
    environment = {
        **given,
        "ENVIRONMENT": "development",
        "POSTGRES_URL": stores.postgres.url_for(DATABASES[0]),
        "REDIS_URL": stores.valkey.url,
        "SMS_URL": f"file://{plan.directory}/sms.jsonl",
        MARK: str(plan.directory),
        **{f"LIMIT_{name}": "0" for name in UNLIMITED},
        **fresh_secrets(),
    }
    if stores.nodes:
        environment["SCYLLADB_URL"] = cluster_url(stores.nodes, proxied=False)
    else:
        environment["MESSAGES_URL"] = stores.postgres.url_for(DATABASES[1])
    return environment | dict(plan.environment)


def _worker(number: int, plan: Plan, listener: socket.socket, life: int, environment: Mapping[str, str]) -> Worker:
    name = f"web-{number}"
    own = {
        **environment,
        "FAULTS_DIRECTORY": str(plan.directory / "control"),
        "FAULTS_PROCESS": name,
        **plan.special.get(name, {}),
    }
    log = plan.directory / "logs" / f"{name}.log"
    return Worker(name, listener, life=life, log=log, environment=own, command=plan.command, show=_silent)


def _finisher(number: int, plan: Plan, environment: Mapping[str, str]) -> Program:
    name = f"finisher-{number}"
    return Program(
        name,
        [str(PYTHON), "manage.py", "finisher"],
        ready="a finisher is at work",
        log=plan.directory / "logs" / f"{name}.log",
        environment={**environment, **plan.special.get(name, {})},
    )


def _silent(_: str) -> None:
    """It is in the log."""


def _forget(stores: Stores) -> None:
    for server in stores.servers:
        server.kill()
        server.forget()
        shutil.rmtree(server.data, ignore_errors=True)
