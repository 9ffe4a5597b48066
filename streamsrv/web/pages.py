"""The page and its files: `GET /` and `GET /static/...`, from one folder."""

import asyncio
import errno
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from streamsrv.errors import NotFound
from streamsrv.web.responses import bytes_reply

# No part begins with a dot, so there is no way up and no hidden file. aiohttp matches the path before it decodes it,
# so that nothing percent-encoded gets through either.
_PATH = r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*"

_HEADERS = {
    # hls.js plays from blob: URLs and runs its worker from one. Everything else comes from this server.
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    # With "no-referrer" a form would be sent with the origin "null", which isn't known as the page's own.
    "Referrer-Policy": "same-origin",
}

# The module mimetypes reads the host's own tables, which differ.
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".mp3": "audio/mpeg",
    ".txt": "text/plain; charset=utf-8",
}

# What the system says of a name that no file has: missing, below a file, a folder, too long, a link to itself.
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}


@dataclass(frozen=True, slots=True)
class _Page:
    modified_ns: int
    body: bytes
    etag: str


class Pages:
    """Serves what lies in `folder`, which is small: each file is kept in memory, and read again once it changed.

    A line of HTML that says `data-needs="NAME"` is left out where `missing` has that name: nobody is offered what can't
    be done.
    """

    def __init__(self, folder: Path, *, missing: Iterable[str] = ()) -> None:
        self._folder = folder.resolve()
        self._needs = [f'data-needs="{name}"'.encode() for name in missing]
        self._pages: dict[Path, _Page] = {}

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self.index), web.get(f"/static/{{path:{_PATH}}}", self.file)]

    async def index(self, request: web.Request) -> web.Response:
        return await self._reply(request, "index.html")

    async def file(self, request: web.Request) -> web.Response:
        return await self._reply(request, request.match_info["path"])

    async def _reply(self, request: web.Request, path: str) -> web.Response:
        page = await asyncio.to_thread(self._read, path)
        return bytes_reply(
            request,
            page.body,
            etag=page.etag,
            media_type=_media_type(path),
            cache_control="no-cache",  # kept, but asked for again: an update of the server must reach the browser
            headers=_HEADERS,
        )

    def _read(self, path: str) -> _Page:
        # Not by Path.resolve, for which a link to itself is no OSError.
        file = Path(os.path.realpath(self._folder / path))
        if not file.is_relative_to(self._folder):  # a link that leads out
            raise NotFound
        try:
            modified_ns = file.stat().st_mtime_ns
            page = self._pages.get(file)
            if page is None or page.modified_ns != modified_ns:
                body = self._without_missing(file.read_bytes()) if file.suffix == ".html" else file.read_bytes()
                page = _Page(modified_ns, body, hashlib.sha256(body).hexdigest()[:32])
                self._pages[file] = page
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise NotFound from error
        return page

    def _without_missing(self, html: bytes) -> bytes:
        return b"".join(
            line for line in html.splitlines(keepends=True) if not any(need in line for need in self._needs)
        )


def _media_type(path: str) -> str:
    return _MEDIA_TYPES.get(Path(path).suffix.lower(), "application/octet-stream")
