import os
import shlex
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from chatproject.launcher.cassandra.jars import fetch_jars
from chatproject.launcher.cassandra.java import find_java
from chatproject.launcher.server import Command, Server
from chatproject.launcher.sockets import digest

HERE = Path(__file__).parent
CQL_PORT = 9042
# Protocol 4, stream 0, OPTIONS without a body; a server that serves clients answers with SUPPORTED.
OPTIONS_FRAME = bytes([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0])
SUPPORTED = 0x06
# A third of the ring each.
TOKENS = (-9223372036854775808, -3074457345618258603, 3074457345618258602)


@dataclass(frozen=True)
class Profile:
    """How large a node is, and what it refuses."""

    java_options: tuple[str, ...]
    settings: str = ""


# A read that scans tombstones fails here, which proves that ours scan none but those of expired messages, and can do with little of these.
TEST = Profile(
    ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=256m"),
    "tombstone_warn_threshold: 50\ntombstone_failure_threshold: 200\n",
)
RUN = Profile(("-Xms1g", "-Xmx1g", "-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=512m"))
BENCH = Profile(("-Xms2g", "-Xmx2g", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=512m"))


def loopback_address(directory: Path, number: int = 1) -> str:
    """127.a.b.number, where a and b follow from the directory, so that installations do not meet on the fixed ports."""
    name = bytes.fromhex(digest(directory))
    return f"127.{1 + name[0] % 254}.{name[1]}.{number}"


class CassandraNode(Server):
    """One Cassandra 5 node in data centre dc1. Several make a cluster: start the seed first, the others after it."""

    name = "Cassandra"
    executable = "java"
    start_patience = 120.0

    def __init__(
        self,
        directory: Path,
        *,
        address: str | None = None,
        profile: Profile = TEST,
        seed: str | None = None,
        log: Path | None = None,
    ) -> None:
        """`seed` is the first node's address, for the nodes that join it; addresses end in 1, 2, 3 like the tokens."""
        super().__init__(directory, log=log)
        self.address = address or loopback_address(self.directory)
        self.profile = profile
        self.seed = seed or self.address

    @property
    def url(self) -> str:
        return self.url_for("waypost")

    def url_for(self, keyspace: str) -> str:
        return f"cassandra://{self.address}:{CQL_PORT}/{keyspace}?dc=dc1"

    @property
    def token(self) -> int:
        return TOKENS[(int(self.address.rpartition(".")[2]) - 1) % len(TOKENS)]

    @property
    def configuration(self) -> Path:
        return self.directory / "conf"

    def prepare(self) -> Command:
        jars = fetch_jars()
        self.version = next(iter(jars.glob("cassandra-all-*.jar"))).stem.removeprefix("cassandra-all-")
        self._write_configuration()
        scratch = self.directory / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        options = shlex.split((HERE / "jvm.options").read_text(), comments=True)
        arguments = [str(find_java()), *self.profile.java_options, *options, *self._places(scratch), *self._gossip()]
        arguments += ["-cp", f"{self.configuration}:{jars}/*", "org.apache.cassandra.service.CassandraDaemon"]
        return Command(arguments, {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"})

    def _places(self, scratch: Path) -> list[str]:
        return [
            f"-Djava.io.tmpdir={scratch}",
            f"-Dcassandra.config={(self.configuration / 'cassandra.yaml').as_uri()}",
            f"-Dcassandra.storagedir={self.data}",
            f"-Dcassandra.logdir={self.directory}",
            f"-Dcassandra.triggers_dir={self.configuration / 'triggers'}",
            f"-Dlogback.configurationFile={self.configuration / 'logback.xml'}",
        ]

    def _gossip(self) -> list[str]:
        if self.seed == self.address:
            return ["-Dcassandra.skip_wait_for_gossip_to_settle=0"]
        return ["-Dcassandra.gossip_settle_min_wait_ms=500", "-Dcassandra.gossip_settle_interval_ms=250"]

    def _write_configuration(self) -> None:
        (self.configuration / "triggers").mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "logback.xml", self.configuration)
        (self.configuration / "cassandra-rackdc.properties").write_text("dc=dc1\nrack=r1\n")
        (self.configuration / "cassandra.yaml").write_text(
            f"listen_address: {self.address}\n"
            f"rpc_address: {self.address}\n"
            f"initial_token: '{self.token}'\n"
            "seed_provider:\n"
            "  - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n"
            f'    parameters: [{{seeds: "{self.seed}:7000"}}]\n'
            f"{self.profile.settings}{(HERE / 'cassandra.yaml').read_text()}"
        )

    def is_ready(self) -> bool:
        return answers_cql(self.address, CQL_PORT)

    def forget(self) -> None:
        shutil.rmtree(self.directory / "tmp", ignore_errors=True)


def answers_cql(host: str, port: int, timeout: float = 2.0) -> bool:
    """Whether a CQL server accepts clients there."""
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.sendall(OPTIONS_FRAME)
            header = connection.recv(9)
    except OSError:
        return False
    return len(header) >= 5 and header[4] == SUPPORTED
