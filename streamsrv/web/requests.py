"""Requests: each has an id and a line in the log, an origin, and a query that is read strictly."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr
from structlog.typing import FilteringBoundLogger
from yarl import URL

from streamsrv.errors import BadParameter, BadRequest
from streamsrv.web.names import did_you_mean

REQUEST_ID = web.RequestKey("request_id", str)
X_REQUEST_ID = istr("X-Request-ID")

# nginx's number for "the client closed the connection"; it is seen in the log only.
CLIENT_GONE = 499

_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A host name or address with an optional port. What else a client puts there must not come back in our URLs.
HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_SHOWN_CHARACTERS = 40


def name_requests(app: web.Application) -> None:
    """Give each request an id, in its reply and in each line logged meanwhile, and log one line for it.

    A good X-Request-ID of the client's is kept. Reads that went well are logged at debug level only: one listener makes
    hundreds of them. Call it once logging is set up, and before all else that adds middlewares: it sees their replies.
    """
    app.middlewares.append(_make_middleware(structlog.get_logger().bind()))


def request_id(request: web.BaseRequest) -> str:
    """Return the request's id; "-" where aiohttp answered before any middleware ran."""
    name: str = request.get(REQUEST_ID, "-")
    return name


def public_origin(request: web.BaseRequest, public_url: str) -> str:
    """Return what absolute URLs in replies begin with: `public_url` if set, else the request's own origin.

    Without a slash at its end. Raises BadRequest for a Host header that is none.
    """
    if public_url:
        return public_url.rstrip("/")
    host = request.host
    if not HOST.fullmatch(host):
        raise BadRequest("The Host header isn't a host name with an optional port.")
    return f"{request.scheme}://{host}"


def told_origin(request: web.BaseRequest, public_url: str) -> str:
    """The same for addresses that others than the sender are told, as those in callbacks.

    Names were checked before: see `foreign_pages`. A literal address may be anybody's: one of the public internet is
    believed where the connection came in on it, else that by which it came in is told.
    """
    origin = public_origin(request, public_url)
    came_to = request.transport.get_extra_info("sockname") if request.transport is not None else None
    named = read_address(URL(origin).host or "")
    if public_url or came_to is None or named is None or not named.is_global or named == read_address(came_to[0]):
        return origin
    return str(URL.build(scheme=request.scheme, host=came_to[0], port=came_to[1]))


def read_query(request: web.BaseRequest, fields: Collection[str]) -> dict[str, str]:
    """Read the query string. An empty value counts as absent. Raises BadParameter for an unknown or repeated name."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in fields:
            known, meant = ", ".join(fields) or "none", did_you_mean(name, [*fields])
            raise BadParameter(f"There is no parameter {name[:_SHOWN_CHARACTERS]!r} here.{meant} There are: {known}.")
        if value and name in found:
            raise BadParameter(f"The parameter {name!r} is given twice.")
        if value:
            found[name] = value
    return found


def read_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address by which a host is named, as URLs and as sockets write it; None where it has a name. Pure."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _make_middleware(log: FilteringBoundLogger) -> Middleware:
    # This runs for each segment of each listener, in caches that the segment's bytes have just swept: a system call for
    # random bytes or a look at the log's configuration costs several times what it costs alone.
    prefix, numbers = secrets.token_hex(4), itertools.count(1)
    (token,) = structlog.contextvars.bind_contextvars(request_id="").values()
    logged_id = token.var
    logged_id.reset(token)
    logs_reads = log.is_enabled_for(logging.DEBUG)

    @web.middleware
    async def name_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        sent = request.headers.get(X_REQUEST_ID)
        name = f"{prefix}{next(numbers):08x}" if sent is None or not _GOOD_ID.fullmatch(sent) else sent
        request[REQUEST_ID] = name
        logged_id.set(name)
        started = time.perf_counter()
        try:
            reply = await handler(request)
        except web.HTTPException as redirect:
            _log_request(log, request, redirect, started)
            raise
        except BaseException:
            _log_request(log, request, None, started)
            raise
        if not reply.prepared:  # what streams has sent its headers, and the id among them
            reply.headers[X_REQUEST_ID] = name
        if logs_reads or reply.status >= 400 or request.method not in _READS:
            _log_request(log, request, reply, started)
        return reply

    return name_request


def _log_request(
    log: FilteringBoundLogger, request: web.Request, reply: web.StreamResponse | None, started: float
) -> None:
    status, sent_bytes = CLIENT_GONE, 0
    if reply is not None:
        status, sent_bytes = reply.status, reply.content_length or reply.body_length
    routine = status < 400 and request.method in _READS
    log.log(
        logging.DEBUG if routine else logging.INFO,
        "request",
        method=request.method,
        path=request.rel_url.raw_path,  # still percent-encoded, so that a path can't forge lines
        status=status,
        ms=round((time.perf_counter() - started) * 1000, 1),
        bytes=sent_bytes,
    )
