"""No foreign web page uses or reads this server, though the browser that shows it reaches whatever its user reaches.

What a page can't choose tells on it: the name by which it calls the server (`Host`: where DNS was changed under a page,
that is still the page's own), and where its browser says that it comes from (`Origin`, `Referer`, `Sec-Fetch-Site`).
Programs that are no browser send nothing of the latter, and are answered as ever.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import istr

from streamsrv.errors import BadRequest, ForeignPage, Misdirected
from streamsrv.web.requests import HOST, read_address

_SEC_FETCH_SITE = istr("Sec-Fetch-Site")
_SEC_FETCH_MODE = istr("Sec-Fetch-Mode")
_SEC_FETCH_DEST = istr("Sec-Fetch-Dest")
_RESOURCE_POLICY = istr("Cross-Origin-Resource-Policy")
_CONTENT_TYPE_OPTIONS = istr("X-Content-Type-Options")
# Else aiohttp would tell which versions of what are running, and with it which of their holes.
SERVER = "streamsrv"
# Whether it is a browser at all counts for what says nothing of both, and would let caches keep nothing.
_VARY = f"{hdrs.REFERER}, {_SEC_FETCH_SITE}"
# For replies to what is no request, of which nobody knows who sent it.
ISOLATED = {_CONTENT_TYPE_OPTIONS: "nosniff", _RESOURCE_POLICY: "same-site", hdrs.SERVER: SERVER}

_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_ANY = "*"
# What elements of a page play: sound, and the playlists and segments that some browsers play by themselves.
_MEDIA = re.compile(r"(?:audio|video)/|application/(?:vnd\.apple\.|x-)mpegurl", re.IGNORECASE)
# Every browser's name has begun so since the nineties, as has that of some programs that would be taken for one.
_BROWSERS = re.compile(r"Mozilla/|Opera/")
# What browsers would rather have in the place of a page or a picture.
_SHOWN = re.compile(r"(?:text/html|image/[a-z])")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?=[/?#]|$)")
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Callers:
    """By which names the server may be called, and the origins whose pages may use it besides its own; "*" is any.

    `names` may be patterns such as "*.svc.cluster.local". `own` is the server's origin where a proxy gives it another
    one than requests show; it may be empty. Addresses, localhost and names without a dot are always good: no page from
    the internet is loaded by one of these.
    """

    names: frozenset[str]
    origins: frozenset[str]
    own: str = ""

    @classmethod
    def of(
        cls, *, hosts: Sequence[str], also: Iterable[str], machine: str, public_url: str, origins: Iterable[str]
    ) -> "Callers":
        """`hosts` are listened on, and `machine` is this machine's name, by which the server goes, too.

        `also` are further names, and `public_url` has one.
        """
        short = machine.partition(".")[0]
        ours = (machine, f"{short}.local" if short else "")  # the latter by multicast DNS
        names = {urlsplit(public_url).hostname or "", *ours, *({*hosts} - {_ANY}), *also}
        return cls(
            frozenset(name.lower() for name in names if name and read_address(name) is None),
            frozenset(origin.rstrip("/") for origin in origins if origin),
            public_url.rstrip("/").lower(),
        )

    def check_name(self, request: web.Request) -> None:
        """Raises BadRequest for what is no host, and Misdirected for one that isn't ours."""
        host = HOST.fullmatch(request.host)
        if host is None:  # two of them aiohttp refuses by itself
            raise BadRequest("The Host header isn't a host name with an optional port.")
        name = host[1].lower().removesuffix(".")
        if not self._goes_by(name):
            name = name[:_SHOWN_CHARACTERS]
            raise Misdirected(
                f"This server goes by localhost and by its addresses, and not by the name {name}. If that is one of its"
                " names, too, add it to server.hosts_allowed (STREAMSRV_SERVER__HOSTS_ALLOWED); behind a proxy, set"
                " server.public_url to the address that browsers use."
            )

    def _goes_by(self, name: str) -> bool:
        if name in self.names or name.endswith(".localhost") or read_address(name) is not None:
            return True
        is_near = bool(name) and not {".", "["} & {*name}
        return is_near or any(fnmatchcase(name, pattern) for pattern in self.names if _ANY in pattern)

    def invites(self, request: web.Request) -> bool:
        """Does it come from a page of another origin that may use the server?"""
        return _ANY in self.origins or _asking_origin(request) in self.origins

    def knows(self, request: web.Request) -> bool:
        """Is it sure that a page of the server's own asks, or one that may use it?"""
        is_own = request.headers.get(_SEC_FETCH_SITE) == "same-origin" or self._is_own(_asking_origin(request), request)
        return is_own or self.invites(request)

    def trusts(self, request: web.Request, *, changes: bool) -> bool:
        """Is it no foreign page that asks, as far as that can be told? `changes`: what it asks for isn't only read."""
        if self.knows(request):
            return True
        if hdrs.ORIGIN in request.headers:
            return False
        site = request.headers.get(_SEC_FETCH_SITE, "none")
        # An allowed page beside it that sends no Referer says no more than this with its elements.
        return site == "none" or (site == "same-site" and not changes and hdrs.REFERER not in request.headers)

    def lends_media(self, request: web.Request) -> bool:
        """May an element of another site's page play the reply? Where such pages may use the server at all.

        Whoever is certainly no page is told so, too; a browser that doesn't say which page it shows is told no.
        """
        return self.invites(request) or (
            not all(map(_is_local, self.origins)) and not _is_browser(request) and self.trusts(request, changes=True)
        )

    def _is_own(self, origin: str, request: web.Request) -> bool:
        # The scheme isn't compared: a proxy takes https from browsers and speaks http here.
        scheme, _, host = origin.partition("://")
        ours = (self.own.removesuffix(_DEFAULT_PORT.get(scheme, "")), f"{scheme}://{request.host.lower()}")
        return bool(host) and origin in ours


_CALLERS = web.AppKey("callers", Callers)


def refuse_foreign_pages(app: web.Application, callers: Callers) -> None:
    """Answer only who calls the server by its name, and pages of other origins only where they are named.

    From anywhere one may follow a link to whatever is only read, and ask for the health. Each reply tells browsers
    that it isn't for pages of other sites, and that it is what its type says.
    """
    app[_CALLERS] = callers
    app.middlewares.append(_refuse)
    app.on_response_prepare.append(_isolate)


def refuse_foreign_change(request: web.Request) -> None:
    """For a GET that changes something, to which nobody may link, either. Raises ForeignPage.

    Browsers don't say to plain http on a network whose page they show: there only pages that are known may ask for it.
    """
    callers = request.app[_CALLERS]
    if not callers.trusts(request, changes=True):
        raise _foreign(request)
    if _SEC_FETCH_SITE not in request.headers and _is_browser(request) and not callers.knows(request):
        raise ForeignPage(
            "This browser doesn't say which page asks for it, and any page may make it send a GET."
            " Send DELETE to the same address instead, or use the server's own page."
        )


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
    # A browser gives the reply that it has kept the headers of a 304, which says no type.
    may_be_media = response.status == HTTPStatus.NOT_MODIFIED or _MEDIA.match(response.content_type) is not None
    lends = may_be_media and request.app[_CALLERS].lends_media(request)
    headers[_RESOURCE_POLICY] = "cross-origin" if lends else "same-site"
    headers.add(hdrs.VARY, _VARY)


def _is_open(request: web.Request) -> bool:
    """May a page of anybody's lead there? To the health, and by a link in the place of itself."""
    if request.method not in _READS:
        return False
    headers = request.headers
    is_link = headers.get(_SEC_FETCH_MODE) == "navigate" and headers.get(_SEC_FETCH_DEST) == "document"
    return is_link or request.rel_url.raw_path == "/health"


def _is_browser(request: web.Request) -> bool:
    """Does it look like a browser's? curl, wget, VLC, ffmpeg and what libraries of HTTP send doesn't.

    No page can change any of it: a browser names itself, says what it would show, and, unless the page forbids that,
    where it comes from.
    """
    headers = request.headers
    return (
        _BROWSERS.match(headers.get(hdrs.USER_AGENT, "")) is not None
        or _SHOWN.match(headers.get(hdrs.ACCEPT, "")) is not None
        or hdrs.REFERER in headers
        or _SEC_FETCH_SITE in headers
    )


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


def _is_local(origin: str) -> bool:
    """Is it a page of this machine, which is of one site with the server where both are called localhost?"""
    name = urlsplit(origin).hostname or ""
    address = read_address(name)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)
