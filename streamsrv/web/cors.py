"""CORS: which pages of other origins may use the API from a browser."""

from collections.abc import Sequence

import aiohttp_cors
from aiohttp import hdrs, web
from aiohttp_cors.urldispatcher_router_adapter import ResourcesUrlDispatcherRouterAdapter

_METHODS = ("GET", "HEAD", "POST", "DELETE")
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Range",
    "X-API-Key",
)
_REPLY_HEADERS = (
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "Retry-After",
    "X-Lost-Seconds",
    "X-Request-ID",
)
_MAX_AGE_SECONDS = 600


class _CrossOriginOnly(ResourcesUrlDispatcherRouterAdapter):
    """Spares requests without an Origin the search for their route's configuration."""

    def is_cors_enabled_on_request(self, request: web.Request) -> bool:
        return hdrs.ORIGIN in request.headers and super().is_cors_enabled_on_request(request)


def allow_origins(app: web.Application, origins: Sequence[str]) -> None:
    """Let pages of these origins ("*": of all) read every reply, errors included. Call it after the last route."""
    allowed = frozenset(origin.rstrip("/") for origin in origins)
    if not allowed:
        return
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]  # it ships half its types
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_REPLY_HEADERS,
        max_age=_MAX_AGE_SECONDS,
    )
    adapter = _CrossOriginOnly(app.router, dict.fromkeys(allowed, options))
    cors = aiohttp_cors.CorsConfig(app, router_adapter=adapter)
    for resource in list(app.router.resources()):
        cors.add(resource)

    async def complete(request: web.Request, response: web.StreamResponse) -> None:
        # The reply depends on who asks; a cache that isn't told so gives one page's copy to another.
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        # aiohttp-cors sees routes only; without this a page would take a 404 or 405 for a network failure.
        if origin is None or request.match_info.http_exception is None:
            return
        if origin in allowed or "*" in allowed:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ",".join(_REPLY_HEADERS)

    app.on_response_prepare.append(complete)
