"""Replies made of what is at hand: bytes in memory, and JSON."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web
from multidict import CIMultiDict

from streamsrv.web.ranges import choose_answer


def bytes_reply(
    request: web.BaseRequest,
    body: bytes,
    *,
    etag: str,
    media_type: str,
    cache_control: str,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Answer a GET or HEAD for `body` with 200, 206 or 304, as the request's headers ask for.

    `etag` is strong and comes without quotes: the same bytes have the same tag, other bytes another one.
    `headers` are added to all three.
    Raises RangeNotSatisfiable, and HTTPPreconditionFailed where If-Match names another file.
    """
    answer = choose_answer(request.method, request.headers, etag=etag, size=len(body))
    fields: CIMultiDict[str] = CIMultiDict(headers or ())
    fields[hdrs.ETAG] = f'"{etag}"'
    fields[hdrs.CACHE_CONTROL] = cache_control
    if answer.status == 304:
        return web.Response(status=304, headers=fields)
    if answer.status == 412:
        raise web.HTTPPreconditionFailed(text="The file is another one than If-Match names.")
    fields[hdrs.CONTENT_TYPE] = media_type
    fields[hdrs.ACCEPT_RANGES] = "bytes"
    part = answer.part
    if part is None:
        if not body:
            # aiohttp leaves the length of an empty body out of the reply to HEAD.
            fields[hdrs.CONTENT_LENGTH] = "0"
        return web.Response(body=body, headers=fields)
    fields[hdrs.CONTENT_RANGE] = part.content_range(len(body))
    return web.Response(status=206, body=body[part.start : part.stop], headers=fields)


def json_reply(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with JSON that no cache keeps."""
    fields: CIMultiDict[str] = CIMultiDict(headers or ())
    fields.setdefault(hdrs.CACHE_CONTROL, "no-store")
    fields[hdrs.CONTENT_TYPE] = "application/json"
    return web.Response(status=status, body=to_json(data), headers=fields)


def to_json(data: Any) -> bytes:
    """Write compact JSON in UTF-8. Raises ValueError for numbers that JSON doesn't have (NaN, infinities)."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
