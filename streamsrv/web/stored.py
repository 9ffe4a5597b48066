"""A file that stays and never changes, sent whole or in part, as often as somebody asks: a large result."""

from pathlib import Path
from typing import BinaryIO

from aiohttp import hdrs, web

from streamsrv.errors import NotFound
from streamsrv.web.downloads import content_disposition, opened_file, send_bytes
from streamsrv.web.ranges import choose_answer
from streamsrv.web.requests import X_REQUEST_ID, request_id


async def send_stored(
    request: web.BaseRequest,
    path: Path,
    *,
    etag: str,
    media_type: str,
    name: str | None,
    cache_control: str,
    idle_seconds: float,
) -> web.StreamResponse:
    """Answer a GET or HEAD for the file with 200, 206 or 304, as the request's headers ask for.

    `etag` is strong and comes without quotes: the same bytes have the same tag, other bytes another one. `name`, as
    `safe_name` makes it, is what the file is called where somebody saves it; None leaves that to the page and the URL.
    Raises, before anything is sent, NotFound where there is no such file, RangeNotSatisfiable, and
    HTTPPreconditionFailed where If-Match names another file; else what `send_bytes` raises.
    """
    headers: dict[str, str] = {
        hdrs.ETAG: f'"{etag}"',
        hdrs.CACHE_CONTROL: cache_control,
        hdrs.CONTENT_TYPE: media_type,
        hdrs.CONTENT_DISPOSITION: "inline" if name is None else content_disposition(name, "inline"),
        hdrs.ACCEPT_RANGES: "bytes",
        X_REQUEST_ID: request_id(request),
    }
    try:
        async with opened_file(path) as (file, size):
            return await _answer(request, file, size=size, etag=etag, headers=headers, idle_seconds=idle_seconds)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound from error


async def _answer(
    request: web.BaseRequest, file: BinaryIO, *, size: int, etag: str, headers: dict[str, str], idle_seconds: float
) -> web.StreamResponse:
    answer = choose_answer(request.method, request.headers, etag=etag, size=size)
    if answer.status == 304:
        return web.Response(status=304, headers={name: headers[name] for name in (hdrs.ETAG, hdrs.CACHE_CONTROL)})
    if answer.status == 412:
        raise web.HTTPPreconditionFailed(text="The file is another one than If-Match names.")
    reply = web.StreamResponse(status=answer.status, headers=headers)
    if request.method == hdrs.METH_HEAD:
        reply.content_length = size
        await reply.prepare(request)
        await reply.write_eof()
        return reply
    start, stop = 0, size
    if answer.part is not None:
        start, stop = answer.part.start, answer.part.stop
        reply.headers[hdrs.CONTENT_RANGE] = answer.part.content_range(size)
    await send_bytes(request, reply, file, start=start, stop=stop, idle_seconds=idle_seconds)
    return reply
