"""Which IP addresses the server may connect to: the public ones, and what `outbound.allow` opens."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_-]{1,63}\.)*([a-z0-9_-]{1,63})")
# Whatever ends so is read as an IPv4 address by somebody: 2130706433, 0x7f.1, 127.1 (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

# Of IPv6 all that is public lies here: neither ::1, ::/96 and 64:ff9b::/96, which lead to IPv4 addresses, nor fc00::/7,
# fe80::/10, fec0::/10 and ff00::/8.
_GLOBAL_UNICAST = IPv6Network("2000::/3")

# The registries of special addresses (RFC 6890), wider where a network has only special ones. Python knows most of
# them as not global, each version a few more.
_SPECIAL: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for this machine
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers
            "127.0.0.0/8",
            "168.63.129.16/32",  # the host below a machine in Azure's cloud
            "169.254.0.0/16",  # link-local, and the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "2001::/23",  # protocol assignments, among them Teredo, which leads to IPv4 addresses
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which leads to IPv4 addresses
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: Address) -> bool:
    """Does the address belong to the public internet?"""
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address not in _GLOBAL_UNICAST):
        return False  # only addresses of a link have a zone
    return address.is_global and not any(address in network for network in _SPECIAL)


def plain(address: Address) -> Address:
    """The IPv4 address that is written as an IPv6 one; any other as it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None and address.scope_id is None:
        return address.ipv4_mapped
    return address


def is_host_name(host: str) -> bool:
    """Is that a name in small letters, and nothing that somebody reads as a number?"""
    match = _HOST_NAME.fullmatch(host)
    return match is not None and _NUMBER.fullmatch(match.group(1)) is None


def is_this_machine(host: str) -> bool:
    """Does the name lead to whoever asks, on every machine (RFC 6761 section 6.3)?"""
    return host.lower().rstrip(".").rpartition(".")[2] == "localhost"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be connected to: everything public, and besides it these hosts and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """Read `outbound.allow`: names of hosts, addresses and networks. Raises ValueError, in words."""
        hosts: set[str] = set()
        networks: list[Network] = []
        for entry in entries:
            name = entry.lower().rstrip(".")
            if is_host_name(name):
                hosts.add(name)
                continue
            try:
                networks.append(ip_network(entry))
            except ValueError as error:
                raise ValueError(f"neither the name of a host nor a network: {entry!r}") from error
        return cls(frozenset(hosts), tuple(networks))

    def names(self, host: str) -> bool:
        """Is this host open by its very name, wherever the name leads?"""
        return host.lower().rstrip(".") in self.hosts

    def opens(self, address: Address) -> bool:
        """May the address be connected to, whatever name led to it? IPv4 that is written as IPv6 is judged as IPv4."""
        address = plain(address)
        return is_public(address) or self.lists(address)

    def opens_text(self, text: str) -> bool:
        """The same for an address as the system writes it; what is no address isn't open."""
        try:
            return self.opens(ip_address(text))
        except ValueError:
            return False

    def lists(self, address: Address) -> bool:
        """Is it open because it was named, be it public or not?"""
        return any(plain(address) in network for network in self.networks)
