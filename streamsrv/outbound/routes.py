"""Where the system would send what is addressed to an IP address: away, or to this machine itself."""

import socket
import struct

from streamsrv.outbound.addresses import Address, plain

# rtnetlink(7), linux/netlink.h and linux/rtnetlink.h: a header, what is asked for, and an attribute, the address.
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, length of the prefix ...; the last byte is the type of the route
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_GET_ROUTE, _NEW_ROUTE = 26, 24
_REQUEST = 1
_DESTINATION = 1
_UNICAST = 1
_REPLY_BYTES = 4096
_ANY_PORT = 9


def leads_here(address: Address) -> bool:
    """Is it an address of this machine, on whatever interface, or a broadcast's? Nothing is sent to find out.

    What can't be reached at all doesn't lead here.
    """
    address = plain(address)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        return _asks_kernel(address.packed, family)
    except OSError:  # some sandboxes know no such sockets
        return _is_own_source(str(address), family)


def _asks_kernel(packed: bytes, family: int) -> bool:
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _DESTINATION) + packed
    route = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    size = _HEADER.size + len(route) + len(attribute)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(1)
        kernel.sendto(_HEADER.pack(size, _GET_ROUTE, _REQUEST, 1, 0) + route + attribute, (0, 0))
        reply = kernel.recv(_REPLY_BYTES)
    _, kind, _, _, _ = _HEADER.unpack_from(reply)
    if kind != _NEW_ROUTE:  # an error: there is no way there
        return False
    *_, route_type, _ = _ROUTE.unpack_from(reply, _HEADER.size)
    return bool(route_type != _UNICAST)


def _is_own_source(text: str, family: int) -> bool:
    """What goes to an address of ours comes from it, too, unless that is one of several on the same network."""
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect((text, _ANY_PORT))  # of datagrams this only chooses the way
        except OSError:
            return False
        return str(probe.getsockname()[0]) == text
