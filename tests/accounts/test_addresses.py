"""Whom a request counts against."""

from typing import Any

import pytest

from accounts.addresses import address_behind, counted_as, network_of


@pytest.mark.parametrize("header", ["6.6.6.6", "6.6.6.6, 127.0.0.9", "garbage", ""])
def test_without_a_trusted_proxy_no_header_is_believed(header: str) -> None:
    assert address_behind("127.3.4.5", header) == "127.3.4.5"


def test_behind_proxies_it_is_the_rightmost_address_that_is_not_theirs(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", "::1"]
    assert address_behind("10.0.0.1", "6.6.6.6, 8.8.8.8, 10.0.0.2") == "8.8.8.8"
    assert address_behind("10.0.0.1", None) == "10.0.0.1"
    assert address_behind("9.9.9.9", "6.6.6.6") == "9.9.9.9"
    assert address_behind("10.0.0.1", "6.6.6.6, 8.8.8.8:4711") == "10.0.0.1", (
        "nothing left of what cannot be read is believed"
    )
    assert address_behind("::1", "2001:db8::1") == "2001:db8::1"


def test_no_address_at_all_is_one_client() -> None:
    assert address_behind(None, "6.6.6.6") == address_behind("", None) == "unknown"


def test_loopback_addresses_count_alone_and_ipv6_by_its_64() -> None:
    assert counted_as("127.0.0.1") != counted_as("127.0.0.2")
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff") != counted_as("2001:db8:0:1::1")
    assert counted_as("::1") == "::1"
    assert counted_as(address_behind("::ffff:1.2.3.4", None)) == "1.2.3.4"
    assert address_behind("fe80::1%one", None) == address_behind("fe80::1%two", None), "names of interfaces are free"


def test_networks_are_neighbours_and_loopback_has_none() -> None:
    assert network_of("198.51.100.7") == network_of("198.51.100.200") == "198.51.100.0/24"
    assert network_of("2001:db8:1:2::3") == network_of("2001:db8:1:ffff::") == "2001:db8:1::/48"
    assert network_of("127.8.8.8") is network_of("::1") is network_of("unknown") is None
