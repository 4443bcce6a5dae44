"""Connection URLs: what the URL of a PostgreSQL database or of a message cluster says, in the words of Django's settings."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

CASSANDRA_SCHEMES = ("scylladb", "cassandra")
CQL_PORT = 9042


def postgresql(url: str) -> dict[str, Any]:
    """The DATABASES entry for `postgresql://user:password@host:port/name?option=…` (`?host=/folder` for a UNIX socket)."""
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise ImproperlyConfigured("A PostgreSQL URL must begin with postgresql://")
    config: dict[str, Any] = environ.Env.db_url_config(url)
    options = dict(config.get("OPTIONS", {}))
    config["HOST"] = options.pop("host", config["HOST"])
    if not config["NAME"]:
        raise ImproperlyConfigured("A PostgreSQL URL must name a database: postgresql://host/name")
    return config | {"OPTIONS": options}


def cassandra(url: str) -> dict[str, Any]:
    """Hosts, port, keyspace, data centre and credentials of `scylladb://[user:password@]host[:port][,host…]/keyspace?dc=…[&rf=…]`."""
    parts = urlsplit(url)
    if parts.scheme not in CASSANDRA_SCHEMES:
        raise ImproperlyConfigured("A message cluster URL must begin with scylladb:// or cassandra://")
    credentials, _, addresses = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    named = [item.strip().partition(":") for item in addresses.split(",") if item.strip()]
    hosts = tuple(host for host, _, _ in named)
    keyspace = parts.path.strip("/")
    if not hosts or not keyspace:
        raise ImproperlyConfigured(
            "A message cluster URL must name a host and a keyspace: scylladb://host/keyspace?dc=…"
        )
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {
        "hosts": hosts,
        # The driver has one port for all its nodes: the first that is named.
        "port": next((int(port) for _, _, port in named if port), CQL_PORT),
        "keyspace": keyspace,
        "dc": query.get("dc", "datacenter1"),
        "rf": int(query.get("rf", "0")) or min(3, len(hosts)),
        "user": unquote(user),
        "password": unquote(password),
    }


def with_database(url: str, name: str) -> str:
    """The same server's URL, another database name."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")


def database_name(url: str) -> str:
    """The database a PostgreSQL URL names."""
    return urlsplit(url).path.strip("/")
