"""Push endpoints: URLs that clients name and the server calls, so nothing about them is believed.

Here is what can be said without asking anybody: https, a host name and nothing else that could lead elsewhere. What the name resolves to is looked at
when it is called, each time a connection is made.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

LONGEST = 2048
HTTPS_PORT = 443

_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# The last label of a name is no number: resolvers take "2130706433", "0x7f.1" and "127.1" for addresses.
_NAME = re.compile(rf"({_LABEL}\.)*(?!0[xX]|[0-9]+\Z){_LABEL}")


class EndpointRefused(ValueError):
    """The server does not call this URL."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a URL leads."""

    host: str
    port: int


def require_endpoint(url: str) -> Endpoint:
    """Raise EndpointRefused unless this is an https URL of a host and a port that may be called."""
    parts = _split(url)
    host, port = parts.hostname or "", parts.port or HTTPS_PORT
    if not _is_a_port_of_pushes(host, port):
        raise EndpointRefused
    if may_be_private(host, port):
        return Endpoint(host, port)
    if not _is_a_name(host) or (settings.PUSH_ALLOWED_HOSTS and not _is_named(host, port, settings.PUSH_ALLOWED_HOSTS)):
        raise EndpointRefused
    return Endpoint(host, port)


def may_be_private(host: str, port: int) -> bool:
    """Whether the operator has named this host, so that its address may be one of the own network."""
    return _is_named(host, port, settings.PUSH_PRIVATE_HOSTS)


def _is_a_port_of_pushes(host: str, port: int) -> bool:
    """Behind the others something else may listen, which a stranger would reach through the server."""
    named = {name.lower() for name in (*settings.PUSH_ALLOWED_HOSTS, *settings.PUSH_PRIVATE_HOSTS)}
    return port in settings.PUSH_PORTS or f"{_shown(host)}:{port}" in named


def _split(url: str) -> SplitResult:
    if len(url) > LONGEST or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise EndpointRefused
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as failure:
        raise EndpointRefused from failure
    if parts.scheme != "https" or "@" in parts.netloc or parts.fragment or port == 0:
        raise EndpointRefused
    return parts


def _is_a_name(host: str) -> bool:
    """A name of at least two labels: an address, and what only this machine or its network knows, is for the operator to name."""
    return len(host) <= 253 and "." in host and _NAME.fullmatch(host) is not None and not _is_an_address(host)


def _is_an_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_named(host: str, port: int, names: list[str]) -> bool:
    """Names are `host`, `host:port`, or `.domain` for every host below it; an address of IPv6 stands in brackets."""
    shown = _shown(host)
    return any(
        name.lower() in (shown, f"{shown}:{port}") or (name.startswith(".") and shown.endswith(name.lower()))
        for name in names
        if host
    )


def _shown(host: str) -> str:
    host = host.lower()
    return f"[{host}]" if ":" in host else host
