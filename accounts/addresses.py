"""Where a request comes from."""

import ipaddress
from collections.abc import Iterable

from django.conf import settings
from django.http import HttpRequest

UNKNOWN = "unknown"
_IPV6_CUSTOMER_BITS = 64
# What one company or household can have many addresses of.
_NETWORK_BITS = {4: 24, 6: 48}


def client_address(request: HttpRequest) -> str:
    """The address of the client: the socket's, or what the nearest trusted proxy says about it."""
    return address_behind(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_FORWARDED_FOR"))


def address_behind(peer: str | None, forwarded_for: str | None) -> str:
    """The rightmost address that is not a trusted proxy's. Without TRUSTED_PROXIES no header is believed."""
    trusted = [ipaddress.ip_network(item, strict=False) for item in settings.TRUSTED_PROXIES]
    address = _parse(peer)
    for hop in reversed((forwarded_for or "").split(",")):
        named = _parse(hop.strip())
        # What stands left of a hop that cannot be read is nobody's word but the client's.
        if named is None or address is None or not _is_inside(address, trusted):
            break
        address = named
    return str(address) if address else UNKNOWN


def counted_as(address: str) -> str:
    """The client an address counts as: itself, and for IPv6 its /64, which one customer has whole. Loopback addresses are their own."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.is_loopback:
        return str(ipaddress.IPv6Network((parsed, _IPV6_CUSTOMER_BITS), strict=False))
    return address


def network_of(address: str) -> str | None:
    """The network whose clients share a cap: the /24 of an IPv4 address, the /48 of an IPv6 one. None for loopback, and for no address."""
    parsed = _parse(address)
    if parsed is None or parsed.is_loopback:
        return None
    return str(ipaddress.ip_network((parsed, _NETWORK_BITS[parsed.version]), strict=False))


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _parse(text: str | None) -> Address | None:
    try:
        # A zone ("fe80::1%eth0") is a name somebody gave to an interface: as many clients as there are names.
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_inside(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
