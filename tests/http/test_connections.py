"""What comes on a connection and is no request, or comes behind one: in any pieces, by aiohttp's both parsers."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from aiohttp import http_parser, web
from aiohttp.typedefs import Handler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.deadline import eventually
from support.wire.link import linked
from support.wire.messages import LAST_CHUNK, Reply, chunk, read_head, request_head

from streamsrv.web import connections
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests
from streamsrv.web.runner import Runner

SECRET = b"of somebody's file"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n"
SOON_SECONDS = 5.0
MIB = 1 << 20


class Echo:
    """The application: it answers with how much it was sent. A request for /late is answered once `may_answer` is set,
    one for /early at once, whatever it still sends, and one for /broken never."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = 0
        self.app = web.Application()
        self.app.middlewares.append(_break)
        name_requests(self.app)
        answer_problems(self.app)
        self.app.add_routes([web.route("*", path, self._answer) for path in ("/", "/late", "/early", "/broken")])

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.path == "/early":
            return web.Response(text="early")
        if request.path == "/late":
            await self.may_answer.wait()
        size = 0
        while data := await request.content.readany():
            size += len(data)
        return web.Response(text=str(size))


@web.middleware
async def _break(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path == "/broken":
        raise RuntimeError("a bug")
    return await handler(request)


@asynccontextmanager
async def served(echo: Echo, **more: Any) -> AsyncIterator[int]:
    """Serve it as the server does; gives the port."""
    runner = Runner(echo.app, access_log=None, auto_decompress=False, shutdown_timeout=20, **more)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture(params=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """aiohttp has two, and takes the other one where it wasn't compiled."""
    if request.param == "Python":
        monkeypatch.setattr(connections, "HttpRequestParser", http_parser.HttpRequestParserPy)
    else:
        assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
    return str(request.param)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """All that is logged; nothing of what was sent may be in it, and nobody logs past structlog."""
    caplog.set_level(logging.INFO)
    with structlog.testing.capture_logs() as lines:
        yield lines
    assert SECRET.decode() not in repr(lines)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def replies(received: bytes) -> list[Reply]:
    """All replies in what came, each of a stated length."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status, headers = read_head(head)
        size = int(headers["Content-Length"])
        found.append(Reply(status, headers, received[:size], len(received) >= size))
        received = received[size:]
    return found


async def exchange(port: int, *pieces: bytes) -> list[Reply]:
    """Send these pieces, each on its own, and read to the end of the connection, which comes soon."""
    async with linked(port) as link:
        for piece in pieces:
            await link.write(piece)
            await asyncio.sleep(0.001)  # so that it travels alone
        async with asyncio.timeout(SOON_SECONDS):
            return replies(await link.rest())


def cut(data: bytes, *places: int) -> list[bytes]:
    return [data[begin:end] for begin, end in zip((0, *places), (*places, len(data)), strict=True)]


def post(body: bytes, length: int | None, *more: str, target: str = "/") -> bytes:
    return request_head("POST", target, length, *more, content_type=None) + body


BEHIND = [
    SECRET,
    b"\r\n" + SECRET,
    b"\r\n",
    SECRET + b"\r\n\r\n",
    GET + b"\r\n",
    b"\0" * 5000,
    b"HEAD / HTTP/1.1\r\nHost:",
]


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("method", ["GET", "POST", "chunks"])
async def test_bytes_behind_the_last_request_are_ignored(
    parser: str, logged: list[Any], behind: bytes, method: str
) -> None:
    """With `Connection: close` a whole request is answered as ever, whatever follows it, in one packet or later."""
    whole = {
        "GET": GET + CLOSE + b"\r\n",
        "POST": post(SECRET, len(SECRET), "Connection: close"),
        "chunks": post(chunk(SECRET) + LAST_CHUNK, None, "Connection: close"),
    }[method]
    async with served(Echo()) as port:
        for places in ((), (len(whole),), (len(whole) - 1,), (10, len(whole) + 1)):
            (reply,) = await exchange(port, *cut(whole + behind, *places))
            assert (reply.status, reply.body) == (200, b"0" if method == "GET" else b"%d" % len(SECRET))
            assert reply.headers["Connection"] == "close"
    assert [line for line in logged if line["event"] != "request"] == []


@pytest.mark.parametrize("behind", [SECRET, SECRET + b"\r\n", b"\0" + SECRET])
async def test_bytes_behind_another_request_are_refused_alone(parser: str, logged: list[Any], behind: bytes) -> None:
    """Where the connection would go on, whole requests are answered first; what follows is a problem, and the end."""
    whole = GET + b"\r\n" + post(SECRET, len(SECRET)) + post(chunk(SECRET) + LAST_CHUNK, None)
    behind += b"\r\n\r\n"  # the parser in Python waits for the end of a line
    async with served(Echo()) as port:
        for places in ((), (len(whole),), (len(whole) - 1,), (100,)):
            *good, bad = await exchange(port, *cut(whole + behind, *places))
            assert [reply.body for reply in good] == [b"0", b"18", b"18"]
            assert bad.problem["status"] == 400
    assert [line["event"] for line in logged if line["event"] != "request"] == ["request_malformed"] * 4


async def test_many_requests_at_once(parser: str, logged: list[Any]) -> None:
    """Of 200 requests that come together all are answered, in order, though not so many are held at once."""
    echo = Echo()
    bodies = [post(b"x" * size, size) for size in range(1, 200)]
    async with served(echo) as port, linked(port) as link:
        await link.write(post(b"x", 1, target="/late") + b"".join(bodies) + GET + CLOSE + b"\r\n")
        await eventually(lambda: echo.asked)
        echo.may_answer.set()
        async with asyncio.timeout(SOON_SECONDS):
            answers = replies(await link.rest())
    assert [int(reply.body) for reply in answers] == [1, *range(1, 200), 0]


LONG = SECRET * 1000
MALFORMED = {
    "no word of HTTP": (SECRET + b"\r\n\r\n", 400),
    "control characters": (b"GET /\0" + SECRET + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "another protocol": (b"GET / FTP/1.1\r\nHost: a\r\nX: " + SECRET + b"\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECRET, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET + b"\r\n\r\n", 400),
    "lines without CR": (b"GET / HTTP/1.1\nHost: a\nX: " + SECRET + b"\n\n", 400),
    "no host": (b"GET / HTTP/1.1\r\nX: " + SECRET + b"\r\n\r\n", 400),
    "two hosts": (GET + b"Host: " + SECRET + b"\r\n\r\n", 400),
    "no address": (b"GET http://[::" + SECRET.replace(b" ", b"") + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a control character in a header": (GET + b"Authorization: Bearer " + SECRET + b"\x01\r\n\r\n", 400),
    "a space in a header's name": (GET + SECRET + b": a\r\n\r\n", 400),
    "a header that goes on": (GET + b"X: a\r\n " + SECRET + b"\r\n\r\n", 400),
    "two lengths": (GET + b"Content-Length: 1\r\nContent-Length: 2\r\nX: " + SECRET + b"\r\n\r\n", 400),
    "a length of letters": (GET + b"Content-Length: " + SECRET + b"\r\n\r\n", 400),
    "length and chunks": (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECRET, 400),
    "another encoding": (GET + b"Transfer-Encoding: " + SECRET + b"\r\n\r\n", 400),
    "many headers": (GET + (b"X: " + SECRET + b"\r\n") * 300 + b"\r\n", 400),
    "a long address": (b"GET /" + LONG.replace(b" ", b"") + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
    "a long header": (GET + b"X: " + LONG + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize(("sent", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_request_is_a_problem(parser: str, logged: list[Any], sent: bytes, status: int) -> None:
    """Malformed requests are answered in words, once, whole or in pieces, and the connection ends; a line is logged."""
    async with served(Echo()) as port:
        for places in ((), (1, 20), (len(sent) - 3,)):
            (reply,) = await exchange(port, *cut(sent, *places))
            assert (reply.status, reply.problem["status"]) == (status, status)
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Server"] == "streamsrv"
            assert reply.headers["Cross-Origin-Resource-Policy"] == "same-site"
            assert reply.problem["request_id"] == reply.headers["X-Request-ID"]
            assert SECRET not in reply.body
    assert [line["event"] for line in logged] == ["request_malformed"] * 3
    assert {line["log_level"] for line in logged} == {"info"}


BAD_CHUNKS = {
    "no number": b"nothing " + SECRET + b"\r\n",
    "a number without end": b"f" * 30 + SECRET + b"\r\n",
    "more than its size": b"1\r\n" + SECRET + b"\r\n",
    "a bad trailer": b"0\r\nX: " + SECRET + b"\x01\r\n\r\n",
}


@pytest.mark.parametrize("rest", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_a_body_that_becomes_malformed(parser: str, logged: list[Any], rest: bytes) -> None:
    """Whoever reads a body is told at once that it is malformed, and its request has one answer."""
    echo = Echo()
    async with served(echo) as port, linked(port) as link:
        await link.write(post(chunk(SECRET), None))
        await eventually(lambda: echo.asked)
        await link.write(rest)
        async with asyncio.timeout(SOON_SECONDS):
            (reply,) = replies(await link.rest())
    assert (reply.problem["status"], reply.headers["Connection"]) == (400, "close")
    assert [line["event"] for line in logged] == ["request"]


@pytest.mark.parametrize("rest", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_a_body_that_nobody_reads_becomes_malformed(parser: str, logged: list[Any], rest: bytes) -> None:
    """Where the reply has gone out before the body's end, how that ends is no matter."""
    async with served(Echo()) as port, linked(port) as link:
        await link.write(post(chunk(SECRET), None, target="/early"))
        assert (await link.reply()).body == b"early"
        await link.write(rest)
        async with asyncio.timeout(SOON_SECONDS):
            assert await link.rest() == b""
    assert [line["event"] for line in logged] == ["request"]


async def test_a_client_that_still_sends_reads_its_reply(parser: str) -> None:
    """A body much longer than it says: what is too much is taken and dropped, so that the reply isn't lost."""
    async with served(Echo()) as port, linked(port, window_bytes=4096) as link:
        await link.write(post(b"x", 1, "Connection: close"))
        for _ in range(32):
            await link.write(bytes(MIB))  # which is more than the system would hold back
        (reply,) = replies(await link.rest())
    assert (reply.status, reply.body) == (200, b"1")


async def test_a_client_that_stays_is_left(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds a connection beyond its last reply by sending on; that has an end, for whoever it may be."""
    monkeypatch.setattr(connections, "_LINGER_SECONDS", 0.2)
    async with served(Echo()) as port, linked(port) as link:
        await link.write(GET + CLOSE + b"\r\n")
        assert (await link.reply()).status == 200

        async def send_on() -> None:
            while True:
                link._writer.write(b"x")
                await link._writer.drain()
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_on(), SOON_SECONDS)


async def test_a_server_that_stops_waits_for_no_such_client() -> None:
    """Connections on which nothing is to be said any more don't hold up the end of the server."""
    async with served(Echo()) as port, linked(port) as link:
        await link.write(GET + CLOSE + b"\r\n")
        assert (await link.reply()).status == 200
        began = time.monotonic()
    assert time.monotonic() - began < SOON_SECONDS


@pytest.mark.parametrize(
    "head", [GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"]
)
async def test_no_other_protocol_is_spoken(parser: str, logged: list[Any], head: bytes) -> None:
    """A connection that wants to become another one is answered by HTTP's rules, and ends; what follows is ignored."""
    async with served(Echo()) as port:
        for places in ((), (len(head),)):
            (reply,) = await exchange(port, *cut(head + SECRET + b"\r\n\r\n", *places))
            assert reply.status == (200 if head.startswith(b"GET") else 404)
            assert reply.headers["Connection"] == "close"
    assert {line["event"] for line in logged} <= {"request"}


async def test_a_parser_that_stumbles(logged: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else a parser raises, the connection ends, and what was sent isn't in the log."""

    class Stumbling(http_parser.HttpRequestParserPy):
        def feed_data(self, data: bytes, *_: object, **__: object) -> Any:
            raise ValueError(data.decode())

    monkeypatch.setattr(connections, "HttpRequestParser", Stumbling)
    async with served(Echo()) as port:
        assert await exchange(port, SECRET) == []
    assert [(line["event"], line["kind"]) for line in logged] == [("request_malformed", "ValueError")]


async def test_errors_around_handlers_are_problems(logged: list[Any]) -> None:
    """What goes wrong on our side outside of any handler is 500 in words, and in the log with its traceback."""
    async with served(Echo()) as port:
        (reply,) = await exchange(port, b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reply.problem["status"] == 500
    assert "bug" not in reply.detail
    (line,) = [line for line in logged if line["event"] == "request_failed"]
    assert (str(line["exc_info"]), line["request_id"]) == ("a bug", reply.problem["request_id"])


PIECES = [
    SECRET,
    GET,
    CLOSE,
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b"POST / HTTP/1.1\r\n",
    b"Content-Length: 5\r\n",
    b"5\r\n",
]
FIELDS = [b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"GET http://[ "]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES + FIELDS) | st.binary(max_size=20), max_size=12), whole=st.booleans())
def test_whatever_is_sent(parser: str, caplog: pytest.LogCaptureFixture, pieces: list[bytes], whole: bool) -> None:
    """No mixture of requests and other bytes gives a traceback or 5xx, or leaves anything of it in the log."""

    async def run() -> None:
        async with served(Echo()) as port, linked(port) as link:
            for piece in [b"".join(pieces)] if whole else pieces:
                await link.write(piece)
                await asyncio.sleep(0)
            link._writer.write_eof()
            async with asyncio.timeout(SOON_SECONDS):
                received = await link.rest()
        statuses = [int(line.split()[1]) for line in received.split(b"\r\n") if line.startswith(b"HTTP/")]
        assert {status for status in statuses if status >= 500} == set()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(run())
    assert "exc_info" not in json.dumps(lines, default=str)
    assert SECRET.decode() not in json.dumps(lines, default=str)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
