"""Whether a store's URL leads to a store: one try each, and a sentence if not."""

from urllib.parse import SplitResult, urlsplit

import psycopg
import redis

from chatproject.launcher.cassandra.node import CQL_PORT, answers_cql
from chatproject.launcher.errors import refuse
from chatproject.launcher.postgres import OLDEST_MAJOR

CONNECT_SECONDS = 5
CQL_NAMES = {"cassandra": "Cassandra", "scylladb": "ScyllaDB"}
POSTGRES_SCHEMES = ("postgresql", "postgres")
REDIS_SCHEMES = ("redis", "rediss", "unix")


def is_cql(url: str) -> bool:
    """Whether the URL names a cluster that speaks CQL."""
    return urlsplit(url).scheme in CQL_NAMES


def probe(variable: str, url: str) -> str:
    """Connects once; returns the product and its version. LauncherError names the variable whose URL leads nowhere."""
    if variable == "REDIS_URL":
        return _probe_redis(variable, url)
    if is_cql(url):
        return _probe_cql(variable, url)
    return _probe_postgres(variable, url)


def _probe_postgres(variable: str, url: str) -> str:
    _require_scheme(variable, url, POSTGRES_SCHEMES)
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            version = str(connection.info.parameter_status("server_version"))
            number = connection.info.server_version
    except psycopg.Error as error:
        refuse(f"{variable} leads nowhere: {_first_line(error)}")
    if number < OLDEST_MAJOR * 10_000:
        refuse(f"{variable} leads to PostgreSQL {version}; {OLDEST_MAJOR} is the oldest that will do.")
    return f"PostgreSQL {version.partition(' ')[0]}"


def _probe_redis(variable: str, url: str) -> str:
    _require_scheme(variable, url, REDIS_SCHEMES)
    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS
        ) as client:
            facts = client.info("server")
    except (redis.RedisError, ValueError) as error:
        refuse(f"{variable} leads nowhere: {_first_line(error)}")
    valkey = facts.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {facts['redis_version']}"


def _probe_cql(variable: str, url: str) -> str:
    hosts = cql_hosts(url)
    if not any(answers_cql(host, port, CONNECT_SECONDS) for host, port in hosts):
        names = ", ".join(f"{host}:{port}" for host, port in hosts)
        refuse(f"{variable} leads nowhere: no CQL server answers at {names or 'an address it names'}")
    return CQL_NAMES[urlsplit(url).scheme]


def cql_hosts(url: str) -> list[tuple[str, int]]:
    """The contact points of `scheme://[user:password@]host[:port][,host…]/keyspace`; the first port is everybody's."""
    named = [host.partition(":") for host in _addresses(urlsplit(url)).split(",") if host]
    ports = [int(port) for _, _, port in named if port.isdigit()]
    return [(host, int(port) if port.isdigit() else (*ports, CQL_PORT)[0]) for host, _, port in named]


def place(url: str) -> str:
    """Where a URL leads, without its credentials."""
    parts = urlsplit(url)
    return f"{_addresses(parts) or 'local socket '}{parts.path}"


def _addresses(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _require_scheme(variable: str, url: str, schemes: tuple[str, ...]) -> None:
    if urlsplit(url).scheme not in schemes:
        refuse(f"{variable} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
