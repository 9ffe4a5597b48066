"""Too many connections, and connections on which nothing happens: who goes, who stays, and what they are told."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from support.deadline import eventually
from support.wire.link import Link, linked

from streamsrv.web.clients import Proxies, bound_forwarded
from streamsrv.web.crowd import Bounds, Crowd
from streamsrv.web.events import bound_events, send_events
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests
from streamsrv.web.runner import Runner

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
OTHER = "127.0.0.7"
LARGE_BYTES = 16 << 20
SOME_BYTES = 4000
SOON_SECONDS = 5.0


class House:
    """The application: /late waits until it may go on, /large answers with so much that nobody's window holds it."""

    def __init__(self, *, proxies: Proxies | None = None, most: int = 100) -> None:
        self.may_answer = asyncio.Event()
        self.late = 0
        self.app = web.Application()
        name_requests(self.app)
        answer_problems(self.app)
        bound_forwarded(self.app, proxies or Proxies(()), most)
        bound_events(self.app, most)
        self.app.add_routes([web.get("/some", self._send_some)])
        routes = {"/": self._answer, "/late": self._wait, "/large": self._send_much, "/events": self._send_events}
        self.app.add_routes([web.get(path, handler) for path, handler in routes.items()])
        self.app.add_routes([web.post("/sent", self._take)])

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def _take(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{len(await request.read())} bytes")

    async def _wait(self, _request: web.Request) -> web.Response:
        self.late += 1
        await self.may_answer.wait()
        return web.Response(text="late")

    async def _send_some(self, _request: web.Request) -> web.Response:
        return web.Response(body=bytes(SOME_BYTES))

    async def _send_much(self, _request: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE_BYTES))

    async def _send_events(self, request: web.Request) -> web.StreamResponse:
        async def events() -> AsyncIterator[tuple[int, dict[str, str]]]:
            self.late += 1
            yield 1, {}
            await self.may_answer.wait()

        return await send_events(request, events())


@asynccontextmanager
async def served(house: House, bounds: Bounds, proxies: Proxies | None = None) -> AsyncIterator[int]:
    """Serve it within bounds; gives the port."""
    runner = Runner(house.app, crowd=Crowd(bounds, proxies), access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        house.may_answer.set()
        await runner.cleanup()


async def status_of(link: Link, target: str = "/", *more: str) -> int:
    lines = "".join(f"{line}\r\n" for line in more)
    await link.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    return (await link.reply()).status


async def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    """Half a head is answered with 408 and nothing with nothing, both in time; a head that comes in time as ever."""
    async with (
        served(House(), Bounds(header_seconds=1.0)) as port,
        linked(port) as half,
        linked(port) as silent,
        linked(port) as good,
    ):
        began = time.monotonic()
        await half.write(GET)
        assert await status_of(good) == 200
        assert (await half.reply()).problem["title"] == "The head of the request didn't come in time."
        assert await half.rest() == await silent.rest() == b""
        assert 0.9 < time.monotonic() - began < SOON_SECONDS
        assert await status_of(good) == 200  # between two requests the limit is another one
        await good.write(GET)
        assert (await good.reply()).status == 408


async def test_a_head_has_a_size() -> None:
    """A head that goes on and on, in lines that are short enough, is refused before it takes a megabyte."""
    async with served(House(), Bounds()) as port, linked(port) as link:
        await link.write(GET)
        for number in range(20):
            await link.write(b"X-%d: %b\r\n" % (number, b"x" * 8000))
        assert b" 431 " in await link.rest()


async def test_a_body_is_no_head() -> None:
    """However large it is, and though all of it comes before its request's handler has begun."""
    house, large = House(), bytes(200_000)
    bounds = Bounds()
    runner = Runner(house.app, crowd=Crowd(bounds), access_log=None, shutdown_timeout=1)
    await runner.setup()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    assert runner.server is not None
    try:
        _, connection = await asyncio.get_running_loop().connect_accepted_socket(runner.server, theirs)
        for _ in range(2):
            await asyncio.sleep(0.01)
            connection.data_received(b"POST /sent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
            await asyncio.sleep(0)  # it is taken off the queue, and its handler is about to begin
            connection.data_received(large)
            reply = await asyncio.get_running_loop().sock_recv(ours, 1 << 16)
            assert reply.startswith(b"HTTP/1.1 200 ")
            assert reply.endswith(b"200000 bytes")
    finally:
        ours.close()
        await runner.cleanup()


async def test_the_oldest_idle_connection_goes_for_a_new_one() -> None:
    """Where no more may be open, the one that has been idle for longest is closed; what is being answered never is."""
    house = House()
    async with served(house, Bounds(connections=3)) as port, AsyncExitStack() as stack:
        busy, oldest, used = [await stack.enter_async_context(linked(port)) for _ in range(3)]
        await busy.write(b"GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await eventually(lambda: house.late)
        assert await status_of(oldest) == await status_of(used) == await status_of(oldest) == 200
        await status_of(await stack.enter_async_context(linked(port)))
        assert await used.rest() == b""
        assert await status_of(oldest) == 200
        house.may_answer.set()
        assert (await busy.reply()).body == b"late"


async def test_where_all_are_busy_a_new_one_is_told_so() -> None:
    """Without an idle connection, a new one gets 503 with Retry-After, and the others go on."""
    house = House()
    async with served(house, Bounds(connections=2)) as port, linked(port) as one, linked(port) as other:
        for link in (one, other):
            await link.write(b"GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await eventually(lambda: house.late == 2)
        async with linked(port) as third:
            reply = await third.reply()
        assert (reply.problem["status"], reply.headers["Retry-After"]) == (503, "2")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        house.may_answer.set()
        assert [(await link.reply()).status for link in (one, other)] == [200, 200]


async def test_one_address_has_so_many() -> None:
    """An address that has its number loses its own connections and not those of others; this machine isn't counted."""
    async with served(House(), Bounds(per_address=2)) as port, AsyncExitStack() as stack:

        async def link(address: str) -> Link:
            one = await stack.enter_async_context(linked(port, address=address))
            assert await status_of(one) == 200
            return one

        local = [await link("127.0.0.1") for _ in range(5)]
        first, *rest = [await link(OTHER) for _ in range(3)]
        neighbour = await link("127.0.0.8")
        assert await first.rest() == b""
        assert [await status_of(one) for one in (*local, *rest, neighbour)] == [200] * 8


async def test_who_goes_takes_its_descriptor_along() -> None:
    """An idle connection whose client didn't take all it was sent doesn't stay open when another one gets its place."""
    house = House()
    runner = Runner(house.app, crowd=Crowd(Bounds(connections=1)), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        with socket.create_connection(("127.0.0.1", port)) as idle:  # and nobody reads from it
            line = await eventually(lambda: transport_of(runner))
            end = line.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            while not line.get_write_buffer_size():
                idle.sendall(b"GET /some HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await asyncio.sleep(0.01)
            async with linked(port) as new:
                assert await status_of(new) == 200
                await eventually(lambda: end.fileno() < 0, seconds=2)
    finally:
        await runner.cleanup()


def transport_of(runner: Runner) -> asyncio.WriteTransport | None:
    """That of the only connection that there is."""
    assert runner.server is not None
    return runner.server.connections[0].transport if runner.server.connections else None


async def test_many_large_heads_behind_a_request_are_refused() -> None:
    """Each is held to the size of a head also where it waits behind others."""
    head = GET + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 8000) for number in range(10)) + b"\r\n"
    house = House()
    async with served(house, Bounds()) as port, linked(port) as link:
        await link.write(b"GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await eventually(lambda: house.late)
        await link.write(head)
        house.may_answer.set()
        assert (await link.reply()).status == 200
        assert (await link.reply()).status == 431


async def test_empty_lines_between_requests_are_nothing() -> None:
    """As some clients send behind a body: RFC 9112, section 2.2."""
    async with served(House(), Bounds(header_seconds=0.5)) as port, linked(port) as link:
        assert await status_of(link) == 200
        await link.write(b"\r\n")
        await asyncio.sleep(2.0)
        assert await status_of(link) == 200


async def test_a_reply_that_nobody_takes_is_cut() -> None:
    """Whatever kind of reply it is: who takes nothing of it for so long is cut off, and who takes some is not."""
    async with (
        served(House(), Bounds(reply_idle_seconds=1.0)) as port,
        linked(port, window_bytes=4096) as idle,
        linked(port, window_bytes=4096) as slow,
    ):
        for link in (idle, slow):
            await link.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        taken = 0
        began = time.monotonic()
        while time.monotonic() - began < 4.0:
            taken += len(await slow.reader.read(256 << 10))
            await asyncio.sleep(0.2)  # this is how a slow one reads
        assert len(await idle.rest()) < LARGE_BYTES
        while taken < LARGE_BYTES:
            data = await slow.reader.read(1 << 20)
            assert data, "it was cut, though it reads"
            taken += len(data)


@pytest.mark.parametrize("trusted", [True, False])
async def test_behind_a_proxy_two_clients_are_two(trusted: bool) -> None:
    """What a trusted proxy forwards counts for whom it names last; what anybody else says of that isn't believed."""
    proxies = Proxies(["127.0.0.1"] if trusted else ())
    house = House(proxies=proxies, most=2)
    async with served(house, Bounds(per_address=2), proxies) as port, AsyncExitStack() as stack:

        async def asks(client: str) -> Link:
            link = await stack.enter_async_context(linked(port))
            head = f"GET /late HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.1, {client}\r\n\r\n"
            await link.write(head.encode())
            return link

        running = [await asks("192.0.2.1"), await asks("192.0.2.1"), await asks("192.0.2.2")]
        await eventually(lambda: house.late == 3)
        fourth = await asks("192.0.2.1")
        if trusted:
            assert (await fourth.reply()).problem["status"] == 503
        else:
            await eventually(lambda: house.late == 4)
            running.append(fourth)
        house.may_answer.set()
        assert {(await link.reply()).status for link in running} == {200}


async def test_so_many_listen_to_events() -> None:
    """Beyond the number of those who may listen, one more gets 503 with Retry-After; a place that was left is free."""
    house = House(most=2)
    listen = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with served(house, Bounds()) as port, linked(port) as third, linked(port) as fourth:
        async with linked(port) as one, linked(port) as other:
            for link in (one, other):
                await link.write(listen)
                assert (await link.head())[0] == 200
            await third.write(listen)
            assert (await third.reply()).problem["status"] == 503

        async def listens() -> bool:
            await fourth.write(listen)
            status, headers = await fourth.head()
            await fourth.reader.readexactly(int(headers.get("Content-Length", 0)))
            return status == 200

        await eventually(listens)
