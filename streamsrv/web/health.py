"""`GET /health`: 200 and nothing else, for whoever watches over the server."""

from aiohttp import hdrs, web


async def health(_request: web.Request) -> web.Response:
    """Answer 200 with an empty body: the server takes requests."""
    return web.Response(headers={hdrs.CACHE_CONTROL: "no-store"})
