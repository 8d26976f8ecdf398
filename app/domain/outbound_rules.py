"""Rules of outbound requests: which schemes and which IP addresses this service may connect to."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

_SPECIAL_IPV4_NETWORKS = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network, RFC 791
            "10.0.0.0/8",  # private use, RFC 1918
            "100.64.0.0/10",  # shared address space of carriers (CGNAT), RFC 6598
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the host of a virtual machine in Azure, in a public network
            "169.254.0.0/16",  # link-local, with the metadata services of clouds, RFC 3927
            "172.16.0.0/12",  # private use, RFC 1918
            "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
            "192.0.2.0/24",  # documentation, RFC 5737
            "192.88.99.0/24",  # relays of 6to4, RFC 7526
            "192.168.0.0/16",  # private use, RFC 1918
            "198.18.0.0/15",  # benchmarks, RFC 2544
            "198.51.100.0/24",  # documentation, RFC 5737
            "203.0.113.0/24",  # documentation, RFC 5737
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
"""IANA's special-purpose registry. `ipaddress.is_global` depends on the version of Python."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only network in use. Outside are loopback, mapped, NAT64, private, link-local and multicast."""

_SPECIAL_IPV6_NETWORKS = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments, with Teredo, benchmarks and ORCHID, RFC 2928
            "2001:db8::/32",  # documentation, RFC 3849
            "2002::/16",  # 6to4, RFC 3056
            "3fff::/20",  # documentation, RFC 9637
        ),
    )
)

_IPV4_SUFFIX_NETWORKS = tuple(
    map(
        IPv6Network,
        (
            "::/96",  # IPv4-compatible, RFC 4291
            "::ffff:0:0/96",  # IPv4-mapped, RFC 4291
            "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
            "64:ff9b::/96",  # NAT64, RFC 6052
            "64:ff9b:1::/48",  # local NAT64, RFC 8215, with prefixes of 96 bits
        ),
    )
)
"""Networks whose addresses end with an IPv4 address."""

_NOT_IPV4_COMPATIBLE = (IPv6Address("::"), IPv6Address("::1"))
_ISATAP_INTERFACES = (0x0000_5EFE, 0x0200_5EFE)
"""First half of the interface identifier, RFC 5214; the IPv4 address follows."""


@dataclass(frozen=True, slots=True)
class OutboundRules:
    """Rules that an operator sets for all outbound requests."""

    allow_http: bool = False
    """Allow http besides https."""
    allowed_networks: tuple[IPNetwork, ...] = ()
    """Networks that are allowed although they are not public."""

    def allows_address(self, address: IPAddress) -> bool:
        """Return whether a connection to the address is allowed.

        An IPv6 address that embeds IPv4 addresses also needs permission for each of them.
        """
        return (
            is_public_address(address)
            or any(address in network for network in self.allowed_networks)
        ) and all(map(self.allows_address, embedded_addresses(address)))


def is_public_address(address: IPAddress) -> bool:
    """Return whether an address is in a public unicast network, whatever IPv4 address it may embed."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4_NETWORKS)
    return address in _GLOBAL_UNICAST and not any(
        address in network for network in _SPECIAL_IPV6_NETWORKS
    )


def embedded_addresses(address: IPAddress) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses to which a translator or tunnel may deliver packets for an address."""
    if isinstance(address, IPv4Address) or address in _NOT_IPV4_COMPATIBLE:
        return ()
    if address.teredo is not None:  # the server and the client, RFC 4380
        return address.teredo
    if address.sixtofour is not None:
        return (address.sixtofour,)
    is_isatap = int(address) >> 32 & 0xFFFF_FFFF in _ISATAP_INTERFACES
    if is_isatap or any(address in network for network in _IPV4_SUFFIX_NETWORKS):
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return ()
