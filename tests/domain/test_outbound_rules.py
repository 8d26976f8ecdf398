"""Addresses of outbound requests: public ones, special networks, and embedded IPv4 addresses."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.outbound_rules import OutboundRules, embedded_addresses, is_public_address

PUBLIC_ONLY = OutboundRules()

PUBLIC_ADDRESSES = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34"),
    *("100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
    *("168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0"),
    *("172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0"),
    *("192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "198.51.99.255", "203.0.114.0", "223.255.255.255"),
    *("2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00:1450::1"),
    *("2001:db7:ffff::1", "2001:db9::1", "3ffe:ffff::1", "3fff:1000::1"),
]

SPECIAL_ADDRESSES = [
    *("0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255"),
    *("100.64.0.0", "100.100.100.200", "100.127.255.255"),
    *("127.0.0.1", "127.255.255.255", "168.63.129.16"),
    *("169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255"),
    *("172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.0.0.255"),
    *("192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255"),
    *("198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.255"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.0", "255.255.255.255"),
    *("::", "::1", "::2", "::7f00:1", "::127.0.0.1", "::8.8.8.8"),
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
    *("64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::10.0.0.1", "64:ff9b:1:ffff::8.8.8.8"),
    *("100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1"),
    *("2001:10::1", "2001:20::1", "2001:1ff:ffff::1", "2001:db8::1", "2001:db8:ffff::1"),
    *("2002:7f00:1::1", "2002:808:808::1", "3fff::1", "3fff:fff:ffff::1", "4000::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fdff:ffff::1", "fe80::1", "fe80::1%eth0", "febf::1"),
    *("fec0::1", "feff::1", "ff02::1", "ff0e::1", "2a00:1450::5efe:127.0.0.1"),
    *("2a00:1450::200:5efe:10.0.0.1",),
]


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_public_address_is_allowed(text: str) -> None:
    assert is_public_address(ip_address(text))
    assert PUBLIC_ONLY.allows_address(ip_address(text))


@pytest.mark.parametrize("text", SPECIAL_ADDRESSES)
def test_special_address_is_refused_unless_its_network_is_allowed(text: str) -> None:
    address = ip_address(text)
    assert not PUBLIC_ONLY.allows_address(address)
    everything = OutboundRules(allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert everything.allows_address(address)


def test_allowed_network_allows_no_other() -> None:
    rules = OutboundRules(allowed_networks=(ip_network("10.1.0.0/16"), ip_network("::1/128")))
    texts = ("10.1.0.0", "10.1.255.255", "10.2.0.0", "127.0.0.1", "::1", "::2", "::ffff:10.1.0.0")
    allowed = [text for text in texts if rules.allows_address(ip_address(text))]
    assert allowed == ["10.1.0.0", "10.1.255.255", "::1"]


def ipv6(prefix: str, bits: int = 0) -> IPv6Address:
    return IPv6Address(int(IPv6Address(prefix)) | bits)


EMBEDDINGS: dict[str, Callable[[int], IPv6Address]] = {
    "compatible": lambda bits: ipv6("::", bits),
    "mapped": lambda bits: ipv6("::ffff:0:0", bits),
    "translated": lambda bits: ipv6("::ffff:0:0:0", bits),
    "NAT64": lambda bits: ipv6("64:ff9b::", bits),
    "local NAT64": lambda bits: ipv6("64:ff9b:1:abcd::", bits),
    "6to4": lambda bits: ipv6("2002::1", bits << 80),
    "Teredo server": lambda bits: ipv6("2001::f7f7:f7f7", bits << 64),
    "Teredo client": lambda bits: ipv6("2001:0:808:808::", bits ^ 0xFFFF_FFFF),
    "ISATAP": lambda bits: ipv6("2a00:1450::5efe:0:0", bits),
    "global ISATAP": lambda bits: ipv6("2a00:1450::200:5efe:0:0", bits),
}


@pytest.mark.parametrize("form", EMBEDDINGS)
def test_embedded_address_is_found(form: str) -> None:
    address = EMBEDDINGS[form](int(IPv4Address("10.20.30.40")))
    assert IPv4Address("10.20.30.40") in embedded_addresses(address)


@pytest.mark.parametrize("text", ["10.0.0.1", "::", "::1", "2a00:1450::1", "fe80::1"])
def test_other_addresses_embed_none(text: str) -> None:
    assert embedded_addresses(ip_address(text)) == ()


@given(
    bits=st.integers(2, 2**32 - 1),  # ::0 and ::1 are no IPv4-compatible addresses
    form=st.sampled_from(sorted(EMBEDDINGS)),
    allowed=st.sampled_from([(), ("::/0",), ("::/0", "10.0.0.0/8"), ("64:ff9b::/96",)]),
)
@example(bits=int(IPv4Address("10.0.0.1")), form="NAT64", allowed=("64:ff9b::/96",))
@example(bits=int(IPv4Address("127.0.0.1")), form="ISATAP", allowed=())
def test_embedding_is_never_more_permitted_than_its_address(
    bits: int, form: str, allowed: tuple[str, ...]
) -> None:
    rules = OutboundRules(allowed_networks=tuple(map(ip_network, allowed)))
    if rules.allows_address(EMBEDDINGS[form](bits)):
        assert rules.allows_address(IPv4Address(bits))


def test_operator_can_allow_nat64_to_public_addresses() -> None:
    rules = OutboundRules(allowed_networks=(ip_network("64:ff9b::/96"),))
    assert rules.allows_address(ip_address("64:ff9b::8.8.8.8"))
    assert not rules.allows_address(ip_address("64:ff9b::10.0.0.1"))
