"""A web server that has one file at every address, and hands it out as a test wants it."""

import asyncio
from contextlib import suppress

from aiohttp import web

from support.neighbours.canary import Canary

_LOOK_SECONDS = 0.02


class Origin:
    """It knows ranges and conditions. After `half_bytes` it stops at `gate`, or cuts off; or `statuses` are answers."""

    def __init__(self, body: bytes, *, half_bytes: int | None = None) -> None:
        self.canary = Canary(self._answer)
        self.body = body
        self.half_bytes = half_bytes
        self.etag: str | None = '"one"'
        self.statuses: list[int] = []
        self.cuts = 0
        self.gate: asyncio.Event | None = None
        self.open_replies = 0

    def url(self, path: str = "/film.flac") -> str:
        return self.canary.url(path)

    def change(self, body: bytes) -> None:
        self.body, self.etag = body, '"two"'

    @property
    def asked(self) -> list[str]:
        """What was asked for: the whole file, the rest of it, or whether it has changed."""
        names = {"If-None-Match": "changed?", "Range": "rest"}
        return [
            next((word for name, word in names.items() if name in request.headers), "whole")
            for request in self.canary.requests
        ]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), headers={"Retry-After": "0"})
        headers = {} if self.etag is None else {"ETag": self.etag}
        if self.etag is not None and request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304, headers=headers)
        start = 0
        if self.etag is not None and request.headers.get("If-Range") == self.etag:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        reply = web.StreamResponse(status=206 if start else 200, headers=headers)
        reply.content_length = len(self.body) - start
        await reply.prepare(request)
        self.open_replies += 1
        try:
            await self._send(request, reply, start)
        finally:
            self.open_replies -= 1
        return reply

    async def _send(self, request: web.Request, reply: web.StreamResponse, start: int) -> None:
        body = self.body
        half = max(start, len(body) // 2 if self.half_bytes is None else self.half_bytes)
        await reply.write(body[start:half])
        if self.cuts and request.transport is not None:
            self.cuts -= 1
            request.transport.close()
            return
        if self.gate is not None:
            await _wait(request, self.gate)
        await reply.write(body[half:])


async def _wait(request: web.Request, gate: asyncio.Event) -> None:
    """For the gate, unless whoever asks has left."""
    while not gate.is_set():
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError
        with suppress(TimeoutError):
            await asyncio.wait_for(gate.wait(), _LOOK_SECONDS)
