"""Proxies between an application and its stores, and between clients and the application."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from chatproject.launcher.cassandra.node import CQL_PORT
from tests.faults.installation import Stores
from tests.faults.installation.stores import cluster_url, told_address
from tests.faults.nemesis.proxy import Link, Proxies

POSTGRESQL, MESSAGES, VALKEY, WEB = "postgresql", "messages", "valkey", "web"


def through(proxies: Proxies, stores: Stores, direct: Mapping[str, str]) -> dict[str, str]:
    """The environment that leads the application to its stores through a proxy each. For `installation.running(reroute=…, proxied=True)`."""
    socket = stores.postgres.socket_folder / ".s.PGSQL.5432"
    rerouted = dict(direct)
    rerouted["POSTGRES_URL"] = _by_tcp(direct["POSTGRES_URL"], proxies.link(POSTGRESQL, socket))
    valkey = proxies.link(VALKEY, stores.valkey.socket)
    rerouted["REDIS_URL"] = f"redis://{valkey.host}:{valkey.port}/0"
    if stores.nodes:
        for number, node in enumerate(stores.nodes, 1):
            proxies.link(
                f"cassandra-{number}", (node.address, CQL_PORT), host=told_address(node.address), port=CQL_PORT
            )
        rerouted["SCYLLADB_URL"] = cluster_url(stores.nodes, proxied=True)
    else:
        rerouted["MESSAGES_URL"] = _by_tcp(direct["MESSAGES_URL"], proxies.link(MESSAGES, socket))
    return rerouted


def _by_tcp(url: str, link: Link) -> str:
    """Neither TLS nor Kerberos is asked for: PostgreSQL has neither on the socket behind the proxy."""
    return f"postgresql://postgres@{link.host}:{link.port}{urlsplit(url).path}?sslmode=disable"
