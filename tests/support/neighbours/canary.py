"""A web server that counts who comes by, names that lead where a test wants, and a watch over every connection."""

import asyncio
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Canary:
    """Answers every request with `answer`, and keeps the requests that came."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or _sing
        self.requests: list[web.Request] = []
        self.port = 0

    @property
    def hits(self) -> int:
        return len(self.requests)

    def url(self, path: str = "/song.mp3", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answer(request)

    @asynccontextmanager
    async def serve(self, *hosts: str) -> AsyncIterator["Canary"]:
        """Listen on the same free port of all these hosts."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            for host in hosts or ("127.0.0.1",):
                site = web.TCPSite(runner, host, self.port)
                await site.start()
                self.port = self.port or runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()


async def _sing(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"la la la", content_type="audio/mpeg")


class FakeNames(AbstractResolver):
    """Names lead where `hosts` says. Asked again, a name gives its next answer, and its last one from then on."""

    def __init__(self, hosts: dict[str, list[list[str]]] | None = None) -> None:
        self.hosts = hosts or {}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.hosts[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is open."""


def watch_connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the address of every connection that this process tries, and let only those to itself go out."""
    tried: list[str] = []
    connect = BaseSelectorEventLoop.sock_connect

    async def watched(loop: asyncio.AbstractEventLoop, sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        target = ip_address(address[0])
        if not (getattr(target, "ipv4_mapped", None) or target).is_loopback:
            raise ConnectionRefusedError(111, "a test connects to nobody else")
        await connect(loop, sock, address)  # type: ignore[arg-type]

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", watched)
    return tried
