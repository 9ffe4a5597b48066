"""OPTIONS without an Origin: which methods an address takes (RFC 9110 section 9.3.7)."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler


def answer_options(app: web.Application) -> None:
    """Answer what is no preflight of a browser: those are the affair of CORS."""
    app.middlewares.append(_answer_options)


@web.middleware
async def _answer_options(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method != hdrs.METH_OPTIONS or hdrs.ORIGIN in request.headers:
        return await handler(request)
    methods: set[str] = set()
    for resource in request.app.router.resources():
        _, allowed = await resource.resolve(request)
        methods |= allowed
    if not methods:
        return await handler(request)  # there is no such address
    allow = ", ".join(sorted(methods | {hdrs.METH_OPTIONS}))
    return web.Response(status=204, headers={hdrs.ALLOW: allow})
