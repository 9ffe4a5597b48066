"""No foreign web page uses or reads this server, though the browser that shows it reaches whatever its user reaches.

What a page can't choose tells on it: the name by which it calls the server (`Host`: where DNS was changed under a page,
that is still the page's own), and where its browser says that it comes from (`Origin`, `Referer`, `Sec-Fetch-Site`).
Programs that are no browser send nothing of the latter, and are answered as ever.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import istr

from streamsrv.errors import BadRequest, ForeignPage, Misdirected
from streamsrv.web.requests import HOST

_SEC_FETCH_SITE = istr("Sec-Fetch-Site")
_SEC_FETCH_MODE = istr("Sec-Fetch-Mode")
_SEC_FETCH_DEST = istr("Sec-Fetch-Dest")
_RESOURCE_POLICY = istr("Cross-Origin-Resource-Policy")
_CONTENT_TYPE_OPTIONS = istr("X-Content-Type-Options")
# Else aiohttp would tell which versions of what are running, and with it which of their holes.
SERVER = "streamsrv"
_VARY = f"{hdrs.REFERER}, {_SEC_FETCH_SITE}"
# For replies to what is no request, of which nobody knows who sent it.
ISOLATED = {_CONTENT_TYPE_OPTIONS: "nosniff", _RESOURCE_POLICY: "same-origin", hdrs.SERVER: SERVER}

_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_ANY = "*"
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?=[/?#]|$)")
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Callers:
    """By which names the server may be called, and the origins whose pages may use it besides its own; "*" is any.

    `own` is the server's origin where a proxy gives it another one than requests show; it may be empty. Addresses and
    localhost are always good names: no page of others can be loaded by them from elsewhere.
    """

    names: frozenset[str]
    origins: frozenset[str]
    own: str = ""

    @classmethod
    def of(
        cls, *, hosts: Sequence[str], also: Iterable[str], machine: str, public_url: str, origins: Iterable[str]
    ) -> "Callers":
        """`hosts` are listened on. Where others reach them, too, the server goes by the names of its machine.

        `also` are further names, and `public_url` has one.
        """
        addresses = [_address(host) for host in hosts]
        named = {host for host, address in zip(hosts, addresses, strict=True) if address is None} - {_ANY}
        names = {"localhost", urlsplit(public_url).hostname or "", *named, *also}
        if named - {"localhost"} or not all(address.is_loopback for address in addresses if address is not None):
            short = machine.partition(".")[0]
            names |= {machine, short, f"{short}.local"}  # the last by multicast DNS
        return cls(
            frozenset(name.lower() for name in names if name),
            frozenset(origin.rstrip("/") for origin in origins if origin),
            public_url.rstrip("/").lower(),
        )

    def check_name(self, request: web.Request) -> None:
        """Raises BadRequest for what is no host, and Misdirected for one that isn't ours."""
        host = HOST.fullmatch(request.host)
        if host is None:  # two of them aiohttp refuses by itself
            raise BadRequest("The Host header isn't a host name with an optional port.")
        name = host[1].lower().removesuffix(".")
        if not (name in self.names or _ANY in self.names or name.endswith(".localhost") or _is_somewhere(name)):
            name = name[:_SHOWN_CHARACTERS]
            raise Misdirected(
                f"This server goes by localhost and by its addresses, and not by the name {name}. If that is one of its"
                " names, too, add it to server.hosts_allowed (STREAMSRV_SERVER__HOSTS_ALLOWED); behind a proxy, set"
                " server.public_url to the address that browsers use."
            )

    def invites(self, request: web.Request) -> bool:
        """Does it come from a page of another origin that may use the server?"""
        return _ANY in self.origins or _asking_origin(request) in self.origins

    def trusts(self, request: web.Request, *, changes: bool) -> bool:
        """Is it no foreign page that asks, as far as that can be told? `changes`: what it asks for isn't only read."""
        site = request.headers.get(_SEC_FETCH_SITE, "none")
        # Others may read no reply to a GET, and browsers don't always say where one comes from.
        if site == "same-origin" or (site == "none" and not (changes and hdrs.ORIGIN in request.headers)):
            return True
        return self.invites(request) or self._is_own(_asking_origin(request), request)

    def _is_own(self, origin: str, request: web.Request) -> bool:
        # The scheme isn't compared: a proxy takes https from browsers and speaks http here.
        scheme, _, host = origin.partition("://")
        ours = (self.own.removesuffix(_DEFAULT_PORT.get(scheme, "")), f"{scheme}://{request.host.lower()}")
        return bool(host) and origin in ours


_CALLERS = web.AppKey("callers", Callers)


def refuse_foreign_pages(app: web.Application, callers: Callers) -> None:
    """Answer only who calls the server by its name, and pages of other origins only where they are named.

    From anywhere one may follow a link: to the page, its files, and whatever is only read. Each reply tells browsers
    that it isn't for pages of others, and that it is what its type says.
    """
    app[_CALLERS] = callers
    app.middlewares.append(_refuse)
    app.on_response_prepare.append(_isolate)


def refuse_foreign_change(request: web.Request) -> None:
    """For a GET that changes something, to which nobody may link, either. Raises ForeignPage."""
    if not request.app[_CALLERS].trusts(request, changes=True):
        raise _foreign(request)


@web.middleware
async def _refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    callers = request.app[_CALLERS]
    callers.check_name(request)
    # What a preflight asks is answered by CORS.
    if request.method != hdrs.METH_OPTIONS and not (
        callers.trusts(request, changes=request.method not in _READS) or _is_open(request)
    ):
        raise _foreign(request)
    return await handler(request)


async def _isolate(request: web.Request, response: web.StreamResponse) -> None:
    headers = response.headers
    headers[hdrs.SERVER] = SERVER
    headers[_CONTENT_TYPE_OPTIONS] = "nosniff"
    headers[_RESOURCE_POLICY] = "cross-origin" if request.app[_CALLERS].invites(request) else "same-origin"
    headers.add(hdrs.VARY, _VARY)


def _is_open(request: web.Request) -> bool:
    """May a page of anybody's lead there? To the page, its files, the health, or by a link in the place of itself."""
    if request.method not in _READS:
        return False
    path, headers = request.rel_url.raw_path, request.headers
    is_link = headers.get(_SEC_FETCH_MODE) == "navigate" and headers.get(_SEC_FETCH_DEST) == "document"
    return is_link or path in {"/", "/health"} or path.startswith("/static/")


def _asking_origin(request: web.Request) -> str:
    """The origin of the page that asks, or nothing: a browser sends an Origin, and where it doesn't, a Referer."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        referer = _ORIGIN.match(request.headers.get(hdrs.REFERER, ""))
        return referer[0].lower() if referer else ""
    return origin


def _foreign(request: web.Request) -> ForeignPage:
    origin = _asking_origin(request)
    page = f"The page at {origin}" if _ORIGIN.fullmatch(origin) else "A page of another origin"
    return ForeignPage(
        f"{page[:_SHOWN_CHARACTERS]} may not use this server. If it is yours, name its origin in ALLOWED_ORIGINS."
    )


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_somewhere(host: str) -> bool:
    """Is it a literal address? 0.0.0.0 is none: browsers don't count it as this machine, though it leads here."""
    address = _address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address is not None and not (mapped or address).is_unspecified
