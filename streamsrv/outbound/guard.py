"""The one client of the server: it asks only hosts that may be asked, and judges each address as it connects."""

import errno
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from ipaddress import ip_address
from types import TracebackType
from typing import NoReturn, Self

import aiohttp
import structlog
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver
from yarl import URL

from streamsrv import __version__
from streamsrv.errors import FailedDownload, Problem, RefusedAddress
from streamsrv.outbound.addresses import Allowed
from streamsrv.outbound.names import Names
from streamsrv.outbound.routes import leads_here
from streamsrv.outbound.urls import UNREACHABLE, next_url, read_url, redact

MAX_REDIRECTS = 5
MAX_HEADERS = 100
MAX_HEADER_BYTES = 8190

_REDIRECTS = {301, 302, 303, 307, 308}
# Asked again, these would say the same: the address was refused (by us or by this machine), or there is no such name.
_FINAL = {errno.EACCES, errno.EPERM, socket.EAI_NONAME, socket.EAI_FAIL, getattr(socket, "EAI_NODATA", None)}

log = structlog.stdlib.get_logger()


class Broken(Exception):
    """What may go well when it is tried again, after `retry_after` seconds if the server said so.

    `problem` is what to say when it isn't.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        self.problem = problem
        self.retry_after = retry_after
        super().__init__(problem.detail)


class Guard:
    """Open it with `async with`. It keeps no cookies and no connections, knows no proxy and no passwords.

    `connect_seconds` is for looking up the name, connecting and the handshake of TLS, `idle_seconds` for each
    silence of the server. How many ask at the same time is the affair of those who ask.
    """

    def __init__(
        self,
        allowed: Allowed,
        *,
        connect_seconds: float,
        idle_seconds: float,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allowed = allowed
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds, sock_read=idle_seconds)
        self._idle_seconds = idle_seconds
        self._resolver = resolver
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            resolver = self._resolver
            if resolver is None:
                resolver = Names()
                opened.push_async_callback(resolver.close)
            # For most hosts, and for those that are open by name. A socket only knows its address, not whose it is.
            self._judging = await opened.enter_async_context(self._open_session(resolver, self._open_socket))
            self._trusting = await opened.enter_async_context(self._open_session(resolver, None))
            self._closing = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    def check(self, text: str) -> URL:
        """Read an address and refuse at once what needs no lookup for that. Raises RefusedAddress."""
        return read_url(text, self._allowed)

    @asynccontextmanager
    async def get(self, text: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for what lies at the address, and follow where that leads; give the reply as its body begins.

        Raises RefusedAddress, FailedDownload, and Broken for what may be tried again; so does reading the body.
        """
        url = self.check(text)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._request(hdrs.METH_GET, url, headers) as reply:
                location = reply.headers.get(hdrs.LOCATION)
                if reply.status not in _REDIRECTS or not location:
                    yield reply
                    return
                url = next_url(url, location, self._allowed)
        raise FailedDownload(f"The address leads on more than {MAX_REDIRECTS} times.")

    @asynccontextmanager
    async def post(self, text: str, headers: Mapping[str, str], body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send something to the address, and to no other where that leads; give the reply as its body begins.

        Raises what `get` does.
        """
        async with self._request(hdrs.METH_POST, self.check(text), headers, body) as reply:
            yield reply

    @asynccontextmanager
    async def _request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask one host once. Redirects are replies like others."""
        session = self._trusting if self._allowed.names(url.raw_host or "") else self._judging
        with self._translate_errors(url):
            async with session.request(method, url, headers=headers, data=body, allow_redirects=False) as reply:
                yield reply

    def _open_session(
        self, resolver: AbstractResolver, socket_factory: aiohttp.SocketFactoryType | None
    ) -> aiohttp.ClientSession:
        # Each request looks its name up and connects: no answer and no connection outlives the moment it was judged.
        connector = aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, force_close=True, limit=0, socket_factory=socket_factory
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # neither proxies nor .netrc
            auto_decompress=False,
            timeout=self._timeout,
            headers={hdrs.ACCEPT_ENCODING: "identity", hdrs.USER_AGENT: f"streamsrv/{__version__}"},
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )

    def _open_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Make the socket that is about to be connected to this very address, or raise OSError instead.

        An OSError lets a host's other addresses be tried: some may be public.
        """
        family, kind, protocol, _, address = info
        if family not in {socket.AF_INET, socket.AF_INET6} or not self._is_open(str(address[0])):
            raise OSError(errno.EACCES, "not a public address")
        return socket.socket(family, kind, protocol)

    def _is_open(self, text: str) -> bool:
        """May an address, as the system writes it, be connected to? This machine's own are public on many machines."""
        if not self._allowed.opens_text(text):
            return False
        address = ip_address(text)
        return self._allowed.lists(address) or not leads_here(address)

    @contextmanager
    def _translate_errors(self, url: URL) -> Iterator[None]:
        try:
            yield
        except aiohttp.ClientError as error:
            self._translate(error, url)

    def _translate(self, error: aiohttp.ClientError, url: URL) -> NoReturn:
        # Nothing is chained: the texts of these errors hold the address with its query.
        match error:
            case aiohttp.ClientSSLError():
                raise FailedDownload("The server can't prove by TLS that it is the one that was named.") from None
            case aiohttp.ClientConnectorError(os_error=OSError(errno=number)) if number in _FINAL:
                log.warning("address_refused", url=redact(url), errno=number)
                raise RefusedAddress(UNREACHABLE) from None
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                raise Broken(RefusedAddress(UNREACHABLE)) from None
            case aiohttp.InvalidURL():
                raise RefusedAddress("The address is malformed.") from None
            case aiohttp.ServerTimeoutError():
                sentence = f"The server sent nothing for {self._idle_seconds:g} seconds."
                raise Broken(FailedDownload(sentence)) from None
            case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError():
                raise Broken(FailedDownload("The connection broke off.")) from None
            case _:
                raise FailedDownload("What answers there isn't a sound web server.") from None
