"""Which addresses are called: a table of those that lead inside, however they are written."""

import pytest

from messaging.push.addresses import may_be_called

PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
    "172.15.255.255",
    "172.32.0.1",
    "100.128.0.1",
]
INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "198.18.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "::7f00:1",
]
NOWHERE = [
    "0.0.0.0",  # noqa: S104  (an address to be refused)
    "169.254.169.254",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:1.1.1.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "",
    "localhost",
    "1.1.1",
]
# Tunnels, documentation, protocol assignments.
RESERVED = [
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.51.100.7",
    "203.0.113.9",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "4000::1",
    "100::1",
    "5f00::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones_are(address: str) -> None:
    assert may_be_called(address, may_be_private=False)


@pytest.mark.parametrize("address", [*INSIDE, *NOWHERE, *RESERVED])
def test_nothing_that_leads_inside_is(address: str) -> None:
    assert not may_be_called(address, may_be_private=False)


@pytest.mark.parametrize("address", [*INSIDE, *PUBLIC])
def test_a_host_the_operator_has_named_may_be_inside(address: str) -> None:
    assert may_be_called(address, may_be_private=True)


@pytest.mark.parametrize("address", NOWHERE)
def test_not_even_that_one_is_a_clouds_credentials_or_a_disguise(address: str) -> None:
    assert not may_be_called(address, may_be_private=True)
