"""Who sends a request: the address of its connection, or where a trusted proxy forwards it, the address it names.

An address is what limits for one client count by. Of IPv6 that is the network of 64 bits that one household has.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from streamsrv.errors import Unavailable
from streamsrv.web.requests import read_address

Address = IPv4Address | IPv6Address

_FORWARDED_FOR = istr("X-Forwarded-For")
_HOUSEHOLD_BITS = 64
_RETRY_SECONDS = 5
# All programs of this machine share these, and so do all clients of a proxy on it that isn't trusted.
_OWN = frozenset({ip_address("127.0.0.1"), ip_address("::1")})


class Proxies:
    """Networks whose word is taken for whom they forward. Raises ValueError for what is no network."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: Sequence[IPv4Network | IPv6Network] = [ip_network(name, strict=False) for name in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trust(self, peer: str | None) -> bool:
        """Is it one of them?"""
        address = _read(peer or "")
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str | None, forwarded: Iterable[str] = ()) -> str:
        """What a client is counted by; "" for one that isn't counted, as a program of this machine.

        `forwarded` are the headers X-Forwarded-For of its request. They are read from the right, where proxies add what
        they know, up to the first address that is no proxy's: what stands to its left, anybody could have written.
        """
        nearest = _read(peer or "")
        named = [part.strip() for header in forwarded for part in header.split(",")]
        while named and nearest is not None and self.trust(str(nearest)):
            before = _read(named.pop())
            if before is None:
                break  # "unknown", or nothing that an address is: the proxy answers for it
            nearest = before
        return _counted(nearest)


def _read(name: str) -> Address | None:
    """The address that is meant, as systems and proxies write it: some with a port, and then IPv6 in brackets."""
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    return read_address(name.partition("%")[0])  # behind it is an interface of ours


def _counted(address: Address | None) -> str:
    if address is None or address in _OWN:
        return ""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _HOUSEHOLD_BITS), strict=False))
    return str(address)


_PROXIES = web.AppKey("proxies", Proxies)


def bound_forwarded(app: web.Application, proxies: Proxies, most: int) -> None:
    """Let a client behind a proxy have so many requests at a time, as others have connections; more get 503."""
    app[_PROXIES] = proxies
    if proxies:
        app.middlewares.append(_make_middleware(proxies, most))


def client_of(request: web.BaseRequest) -> str:
    """What the client who sends the request is counted by; "" for one that isn't."""
    proxies = request.app.get(_PROXIES) if isinstance(request, web.Request) else None
    return (proxies or Proxies(())).client(request.remote, request.headers.getall(_FORWARDED_FOR, ()))


def _make_middleware(proxies: Proxies, most: int) -> Middleware:
    here: Counter[str] = Counter()

    @web.middleware
    async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
        client = client_of(request) if proxies.trust(request.remote) else ""
        if not client:
            return await handler(request)
        if here[client] >= most:
            raise Unavailable(
                f"{most} requests of yours are here already. Try again in a moment.",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
        here[client] += 1
        try:
            return await handler(request)
        finally:
            here[client] -= 1
            if not here[client]:
                del here[client]

    return bound
