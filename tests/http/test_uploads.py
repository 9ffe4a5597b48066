"""A form with a file, received over HTTP by an application that does nothing else."""

import asyncio
import io
import itertools
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from support.deadline import eventually
from support.wire.ending import Ending
from support.wire.link import linked
from support.wire.messages import BOUNDARY, FORM_TYPE, LAST_CHUNK, chunk, closed, file_part, part, request_head

from streamsrv.errors import BadForm, DiskFull, Problem, TooLarge
from streamsrv.web.problems import answer_problems
from streamsrv.web.runner import Runner
from streamsrv.web.uploads import FilePart, Form, UploadLimits, receive_form

MIB = 1 << 20
FIELDS = ("codec", "bitrate")
LIMITS = UploadLimits(
    max_upload_bytes=64 * MIB, max_parts=10, max_field_bytes=100, idle_seconds=5, min_bytes_per_second=0
)


class Receiver(Ending):
    """The application: what it received, and how it ended."""

    def __init__(self, limits: UploadLimits = LIMITS) -> None:
        super().__init__()
        self.limits = limits
        self.opened: tuple[FilePart, Mapping[str, str]] | None = None
        self.size = 0
        self.file: bytearray | None = bytearray()
        self.form: Form | None = None
        self.sink_error: Exception | None = None
        self.gate: Callable[[], Awaitable[None]] | None = None
        self.app = web.Application()
        answer_problems(self.app)
        self.app.add_routes([web.post("/", self._receive), web.get("/health", self._health)])

    async def append(self, data: bytes) -> None:
        if self.gate is not None:
            await self.gate()
        if self.sink_error is not None:
            raise self.sink_error
        self.size += len(data)
        if self.file is not None:
            self.file += data

    async def has(self, size: int) -> None:
        """Wait until so many bytes of the file are there."""
        await eventually(lambda: self.size >= size)

    async def _open(self, part: FilePart, fields: Mapping[str, str]) -> "Receiver":
        assert self.opened is None
        self.opened = (part, dict(fields))
        return self

    async def _receive(self, request: web.Request) -> web.Response:
        with self.noted():
            self.form = await receive_form(request, fields=FIELDS, limits=self.limits, open_file=self._open)
        return web.Response(text="received")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()


@asynccontextmanager
async def serving(receiver: Receiver, **settings: Any) -> AsyncIterator[int]:
    """Serve on loopback; gives the port."""
    runner = Runner(receiver.app, shutdown_timeout=1, **settings)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def post(port: int, body: bytes, content_type: str = FORM_TYPE, *more: str) -> int:
    """Send the whole request, then read the reply's status."""
    async with linked(port) as link:
        await link.post("/", body, *more, content_type=content_type)
        return (await link.finish()).status


@settings(max_examples=25, deadline=None)
@given(
    content=st.lists(st.sampled_from([b"\r\n", b"--", b"-", b"\r"]) | st.binary(max_size=300), max_size=20),
    order=st.permutations(["codec", "bitrate", "file"]),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
    chunked=st.booleans(),
)
def test_any_chunking_and_any_order(content: list[bytes], order: list[str], cuts: list[int], chunked: bool) -> None:
    """However the body is cut into packets or chunks, and in whatever order its fields come, the form is the same."""
    parts = {
        "codec": part("codec", b"opus"),
        "bitrate": part("bitrate", b""),
        "file": part("file", b"x" + b"".join(content), b'; filename="a.mp3"\r\nContent-Type: audio/mpeg'),
    }
    body = closed(*(parts[name] for name in order))

    async def run() -> None:
        receiver = Receiver()
        async with serving(receiver) as port, linked(port) as link:
            await link.write(request_head("POST", "/", None if chunked else len(body)))
            for begin, end in itertools.pairwise([0, *sorted(cut % len(body) for cut in cuts), len(body)]):
                piece = body[begin:end]
                await link.write(chunk(piece) if chunked else piece)
                await asyncio.sleep(0)
            await link.write(LAST_CHUNK if chunked else b"")
            assert (await link.reply()).status == 200
        before = {"codec": "opus"} if order.index("codec") < order.index("file") else {}
        assert receiver.opened == (FilePart("a.mp3", "audio/mpeg"), before)
        assert receiver.file is not None
        assert bytes(receiver.file) == b"x" + b"".join(content)
        assert receiver.form == Form({"codec": "opus"}, FilePart("a.mp3", "audio/mpeg"), len(receiver.file))

    asyncio.run(run())


async def test_an_ordinary_client(aiohttp_client: Callable[..., Awaitable[aiohttp.ClientSession]]) -> None:
    """What aiohttp's own client sends as a form is received, and the connection serves the next request."""
    receiver = Receiver()
    client = await aiohttp_client(receiver.app)
    data = aiohttp.FormData({"codec": "aac", "bitrate": ""}, quote_fields=False)
    data.add_field("file", io.BytesIO(bytes(3 * MIB)), filename="Jóga.wav", content_type="audio/wav")
    async with client.post("/", data=data) as reply:
        assert reply.status == 200
        assert "Connection" not in reply.headers
    assert receiver.form == Form({"codec": "aac"}, FilePart("Jóga.wav", "audio/wav"), 3 * MIB)
    assert receiver.size == 3 * MIB
    async with client.get("/health") as reply:
        assert reply.status == 200


async def test_an_empty_file_opens_nothing() -> None:
    """A file field without bytes, as a page sends it when no file was chosen, is named in the form and not opened."""
    receiver = Receiver()
    async with serving(receiver) as port:
        assert await post(port, closed(file_part("", b""))) == 200
    assert receiver.opened is None
    assert receiver.form == Form({}, FilePart("", ""), 0)


GOOD = closed(part("file", b"sound"))
BAD = {
    "no content type": (GOOD, "", (), 415),
    "another content type": (GOOD, "application/json", (), 415),
    "another multipart": (GOOD, f"multipart/mixed; boundary={BOUNDARY}", (), 415),
    "compressed": (GOOD, FORM_TYPE, ("Content-Encoding: gzip",), 415),
    "called identity": (GOOD, FORM_TYPE, ("Content-Encoding: identity",), 415),
    "no boundary": (GOOD, "multipart/form-data", (), 400),
    "an odd boundary": (GOOD, 'multipart/form-data; boundary="<>"', (), 400),
    "another boundary": (GOOD, "multipart/form-data; boundary=other", (), 400),
    "no body": (b"", FORM_TYPE, (), 400),
    "cut within the file": (GOOD[:-25], FORM_TYPE, (), 400),
    "cut within the last boundary": (GOOD[:-5], FORM_TYPE, (), 400),
    "an unknown field": (closed(part("colour", b"red"), part("file", b"x")), FORM_TYPE, (), 400),
    "two files": (closed(part("file", b"x"), part("file", b"y")), FORM_TYPE, (), 400),
    "a field twice": (closed(part("codec", b"aac"), part("codec", b"mp3")), FORM_TYPE, (), 400),
    "10,000 parts": (closed(*[part("codec", b"aac")] * 10_000), FORM_TYPE, (), 400),
    "a long field": (closed(part("codec", b"x" * 5000)), FORM_TYPE, (), 413),
}


@pytest.mark.parametrize(("body", "content_type", "more", "status"), BAD.values(), ids=BAD)
async def test_bad_requests(body: bytes, content_type: str, more: tuple[str, ...], status: int) -> None:
    """Each request that isn't a form we take is answered with its status, and there is no form."""
    receiver = Receiver()
    async with serving(receiver) as port:
        assert await post(port, body, content_type, *more) == status
    assert receiver.form is None
    assert isinstance(receiver.error, Problem)


async def test_broken_chunks() -> None:
    """A body whose chunks become malformed ends at once with 400, and there is no form."""
    receiver = Receiver()
    begun = part("file", b"sound")
    async with serving(receiver) as port, linked(port) as link:
        await link.write(request_head("POST", "/", None) + chunk(begun))
        await receiver.has(5)
        await link.write(b"not a number\r\n")
        assert (await link.reply()).status == 400
    assert isinstance(receiver.error, BadForm)


async def test_a_file_may_have_exactly_the_largest_size() -> None:
    """The limit is of the file alone: boundaries, headers and fields don't count."""
    receiver = Receiver(replace(LIMITS, max_upload_bytes=1000))
    async with serving(receiver) as port:
        assert await post(port, closed(part("file", b"x" * 1000), part("codec", b"x" * 100))) == 200
    assert receiver.size == 1000


async def test_nothing_beyond_the_largest_size_reaches_the_sink() -> None:
    """One byte more is 413, and the sink has at most the allowed bytes, however they were cut."""
    for size in (1, 300, 5000):
        receiver = Receiver(replace(LIMITS, max_upload_bytes=1000))
        body = closed(part("file", b"x" * 1001))
        async with serving(receiver) as port, linked(port) as link:
            await link.post("/", body)
            while link.left:
                await link.send(size)
            assert (await link.reply()).status == 413
        assert receiver.size <= 1000


async def test_an_announced_excess_is_refused_at_once() -> None:
    """A Content-Length that no allowed file could have is 413 before any byte of the body was sent."""
    receiver = Receiver(replace(LIMITS, max_upload_bytes=1000))
    async with serving(receiver) as port, linked(port) as link:
        await link.write(request_head("POST", "/", 1_000_000))
        reply = await link.reply()
    assert (reply.status, reply.headers["Connection"]) == (413, "close")


async def test_an_early_refusal_reaches_a_client_that_goes_on_sending() -> None:
    """A client that sends all of its 64 MiB before it reads finds the 413 that was sent after the first one."""
    receiver = Receiver(replace(LIMITS, max_upload_bytes=MIB))
    replies = []

    def send(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(request_head("POST", "/", None))
            block = part("file", bytes(MIB))[:-2]
            for _ in range(64):
                connection.sendall(chunk(block))
                block = bytes(MIB)
            replies.append(connection.recv(1000))

    async with serving(receiver) as port:
        await asyncio.to_thread(send, port)
    assert replies[0].startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in replies[0]
    assert isinstance(receiver.error, TooLarge)
    assert receiver.size <= MIB


async def test_an_idle_client_is_refused() -> None:
    """A client that stops sending is answered 408 after idle_seconds."""
    receiver = Receiver(replace(LIMITS, idle_seconds=0.1))
    async with serving(receiver) as port, linked(port) as link:
        await link.write(request_head("POST", "/", 1000) + part("file", b"x"))
        reply = await link.reply()
    assert (reply.status, reply.headers["Connection"]) == (408, "close")


async def test_a_slow_client_is_refused() -> None:
    """A client that keeps sending, but less than the least rate on average, is answered 408 after its grace."""
    receiver = Receiver(replace(LIMITS, grace_seconds=0.2, min_bytes_per_second=100_000))
    async with serving(receiver) as port, linked(port) as link:
        await link.write(request_head("POST", "/", 100_000) + part("file", b""))
        reply = asyncio.ensure_future(link.reply())
        began = time.monotonic()
        while not reply.done() and time.monotonic() - began < 10:
            await link.write(b"x")
            await asyncio.wait([reply], timeout=0.02)
        assert (await reply).status == 408
    assert time.monotonic() - began > 0.2


async def test_a_slow_sink_is_not_the_client_s_fault() -> None:
    """While the sink is slow, neither the idle time nor the rate counts against the client."""
    receiver = Receiver(replace(LIMITS, idle_seconds=0.2, grace_seconds=0.1, min_bytes_per_second=100_000))

    async def slow() -> None:
        await asyncio.sleep(0.5)

    receiver.gate = slow
    async with serving(receiver) as port:
        assert await post(port, GOOD) == 200


async def test_a_waiting_sink_makes_the_sender_wait() -> None:
    """While the sink waits, no more than a few MiB are taken from the client; then the rest."""
    receiver = Receiver()
    receiver.file = None
    allowed = asyncio.Event()

    async def gate() -> None:
        await allowed.wait()

    receiver.gate = gate
    body = closed(part("file", bytes(40 * MIB)))
    async with serving(receiver) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            rest = await asyncio.to_thread(
                send_until_it_waits, connection, memoryview(request_head("POST", "/", len(body)) + body)
            )
            assert len(rest) > 20 * MIB
            allowed.set()
            connection.settimeout(20)
            await asyncio.to_thread(connection.sendall, rest)
            await asyncio.wait_for(receiver.done.wait(), 20)
    assert receiver.size == 40 * MIB


def send_until_it_waits(connection: socket.socket, rest: memoryview) -> memoryview:
    """Send until the connection's timeout passes without a byte taken; returns what is left."""
    with suppress(TimeoutError):
        while rest:
            rest = rest[connection.send(rest[:MIB]) :]
    return rest


@pytest.mark.parametrize("error", [DiskFull(), OSError(5, "Input/output error"), ValueError("a bug")])
async def test_errors_of_the_sink_pass_through(error: Exception) -> None:
    """What the sink raises is what receive_form raises."""
    receiver = Receiver()
    receiver.sink_error = error
    async with serving(receiver) as port:
        assert await post(port, GOOD) == getattr(error, "status", 500)
    assert receiver.error is error


@pytest.mark.parametrize(("cancellation", "error"), [(False, ConnectionResetError), (True, asyncio.CancelledError)])
async def test_a_client_that_leaves(cancellation: bool, error: type[BaseException]) -> None:
    """When the connection ends within the body, what aiohttp raises comes out, and there is no form."""
    receiver = Receiver()
    async with serving(receiver, handler_cancellation=cancellation) as port:
        async with linked(port) as link:
            await link.write(request_head("POST", "/", 10_000) + part("file", b"sound"))
            await receiver.has(5)
        await asyncio.wait_for(receiver.done.wait(), 5)
    assert isinstance(receiver.error, error)
    assert receiver.form is None


async def test_line_ends_do_not_hold_up_others() -> None:
    """While 16 MiB of line ends arrive, others are answered as ever: little is worked on between ask and answer."""
    receiver = Receiver()
    receiver.file = None
    body = closed(part("file", b"\r\n--" * (4 * MIB)))
    longest = 0.0
    async with serving(receiver) as port, aiohttp.ClientSession() as session:
        sending = asyncio.ensure_future(asyncio.to_thread(send_all, port, body))
        while not sending.done():
            began = time.thread_time()  # the server's, which works in this thread; others have the processors, too
            async with session.get(f"http://127.0.0.1:{port}/health") as reply:
                assert reply.status == 200
            longest = max(longest, time.thread_time() - began)
        assert (await sending).startswith(b"HTTP/1.1 200 ")
    assert receiver.size == 16 * MIB
    assert longest < 0.25


def send_all(port: int, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request_head("POST", "/", len(body)) + body)
        return connection.recv(1000)
