"""The two database aliases: `default` decides, `messages` keeps."""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from accounts.impatient import ImpatientConnection
from accounts.patience import NETWORK_LIMITS, SESSION_LIMITS
from chatproject import environment

# Connections of one web process for its synchronous road. Opening one for every request would be most of what a small request costs.
# Giving up on a server that is away after 2 s is what lets the first request after its return connect at once, without the pool's back-off.
POOL: dict[str, Any] = {
    "min_size": 1,
    "max_size": 8,
    "timeout": 3,
    "max_lifetime": 1800,
    "reconnect_timeout": 2,
    "connection_class": ImpatientConnection,
}


def decides(url: str, *, pooled: bool = False) -> dict[str, Any]:
    """The entry of the relational alias; `pooled` for processes that serve."""
    entry = environment.postgresql(url) | {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True, "ATOMIC_REQUESTS": False}
    if pooled:
        entry["OPTIONS"] = NETWORK_LIMITS | {"options": SESSION_LIMITS} | entry["OPTIONS"] | {"pool": POOL}
    return entry


def keeps(url: str) -> dict[str, Any]:
    """The entry of the message store's alias: PostgreSQL, or Cassandra through its Django engine."""
    if not is_cassandra(url):
        # Its tests need no other alias; Django believes that every database depends on the default one.
        return decides(url) | {"TEST": {"DEPENDENCIES": []}}
    from messaging.store.profiles import django_database  # noqa: PLC0415  (the driver is loaded only where it is used)

    return django_database(environment.cassandra(url))


def is_cassandra(url: str) -> bool:
    """Whether the URL names a Cassandra or ScyllaDB cluster."""
    return urlsplit(url).scheme in environment.CASSANDRA_SCHEMES


def engine_name(url: str) -> str:
    """The engine as the health page names it."""
    scheme = urlsplit(url).scheme
    if scheme not in (*environment.CASSANDRA_SCHEMES, "postgresql", "postgres"):
        message = "The message store's URL must begin with postgresql://, cassandra:// or scylladb://"
        raise ImproperlyConfigured(message)
    return scheme if is_cassandra(url) else "postgresql"


def engine_apps(url: str) -> list[str]:
    """The Django apps the alias needs."""
    return ["django_cassandra_engine"] if is_cassandra(url) else []


def messages_beside(postgres_url: str) -> str:
    """The message database used when nothing is configured: `<name>_messages` on the same server."""
    return environment.with_database(postgres_url, f"{environment.database_name(postgres_url)}_messages")
