"""Which addresses of the internet protocol the server connects to on behalf of a client: public ones, and nothing that leads back inside.

Of IPv6 only what is given out as global unicast counts (2000::/3), less what tunnels or stands for something else: that leaves out loopback, link-local,
private, multicast, IPv4-mapped and NAT64 addresses without naming them. Registries: IANA IPv4 and IPv6 Special-Purpose Address Registry.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NOT_PUBLIC_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Protocol assignments (Teredo among them), documentation, 6to4, segment routing's own.
_NOT_PUBLIC_6 = [
    IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
# Not even a host that the operator has named is one of these: clouds keep their machines' credentials behind a link-local address.
_NEVER_4 = [IPv4Network(network) for network in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")]
_NEVER_6 = [
    IPv6Network(network)
    for network in ("::/128", "::ffff:0:0/96", "64:ff9b::/32", "fd00:ec2::/32", "fe80::/10", "ff00::/8")
]


def may_be_called(address: str, *, may_be_private: bool) -> bool:
    """Whether the server connects to this address; `may_be_private` for hosts that the operator has named."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return is_named_well(found) if may_be_private else is_public(found)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the whole internet knows this address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_6)


def is_named_well(address: IPv4Address | IPv6Address) -> bool:
    """Whether a host of the own network may have this address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NEVER_4)
    return not any(address in network for network in _NEVER_6)
