"""The guarded client: whom it asks, whom it doesn't, and what it tells and keeps to itself. Loopback only."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from support.neighbours.canary import Canary, FakeNames, watch_connections

from streamsrv.errors import FailedDownload, Problem, RefusedAddress
from streamsrv.outbound.addresses import Allowed
from streamsrv.outbound.guard import MAX_REDIRECTS, Broken, Guard
from streamsrv.outbound.names import Names
from streamsrv.outbound.urls import UNREACHABLE

MakeGuard = Callable[..., Awaitable[Guard]]

NOT_PUBLIC = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:0:0",
    "::127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "fd00::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "not an address",
]


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that this test tries to connect to."""
    return watch_connections(monkeypatch)


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    async with Canary().serve() as canary:
        yield canary


@pytest.fixture
async def make_guard() -> AsyncIterator[MakeGuard]:
    async with AsyncExitStack() as stack:

        async def make(*allow: str, names: FakeNames | None = None, idle_seconds: float = 5) -> Guard:
            resolver = names or FakeNames()
            guard = Guard(Allowed.parse(allow), connect_seconds=5, idle_seconds=idle_seconds, resolver=resolver)
            return await stack.enter_async_context(guard)

        yield make


async def read(guard: Guard, url: str) -> bytes:
    async with guard.get(url, {}) as reply:
        assert reply.status == 200
        return await reply.read()


async def refused(guard: Guard, url: str) -> str:
    """The words in which the address is refused."""
    with pytest.raises((RefusedAddress, Broken)) as failure:
        await read(guard, url)
    problem = failure.value.problem if isinstance(failure.value, Broken) else failure.value
    assert isinstance(problem, RefusedAddress)
    return problem.detail


def redirect(location: str, status: int = 302) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return answer


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_names_that_lead_inside_are_refused_before_connecting(
    make_guard: MakeGuard, canary: Canary, tried: list[str], address: str
) -> None:
    """A name whose address isn't public is refused without a connection, even where somebody listens."""
    guard = await make_guard(names=FakeNames({"evil.example": [[address]]}))
    assert await refused(guard, canary.url(host="evil.example")) == UNREACHABLE
    assert tried == []
    assert canary.hits == 0


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_no_socket_is_made_for_an_address_inside(make_guard: MakeGuard, address: str) -> None:
    """The last word is spoken where a socket is made: there is none for an address that isn't public."""
    guard = await make_guard()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(PermissionError):
        guard._open_socket((family, socket.SOCK_STREAM, 6, "", (address, 80)))
    with pytest.raises(PermissionError):
        guard._open_socket((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 80)))
    guard._open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))).close()


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0", "0.0.0.0", "①②⑦.⓪.⓪.①", "user@127.0.0.1"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::]", "[::127.0.0.1]", "[::1%25lo]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    ],
)
async def test_literal_addresses_inside_are_refused(
    make_guard: MakeGuard, tried: list[str], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """However this machine's own address is written, nobody is asked and nothing is connected."""
    names = FakeNames()
    guard = await make_guard(names=names)
    async with Canary().serve("127.0.0.1", "::1") as canary:
        await refused(guard, canary.url(host=host))
        assert canary.hits == 0
    assert tried == []
    assert names.asked == []


@pytest.mark.parametrize("scheme", ["file", "data", "ftp", "gopher", "ws", "unix", "tcp"])
async def test_other_schemes_are_refused(make_guard: MakeGuard, canary: Canary, tried: list[str], scheme: str) -> None:
    """Only http and https are spoken, to hosts that are open as well as to others."""
    guard = await make_guard("127.0.0.1", "localhost")
    await refused(guard, canary.url().replace("http", scheme, 1))
    assert tried == []


async def test_a_name_is_judged_each_time_it_is_used(make_guard: MakeGuard, canary: Canary, tried: list[str]) -> None:
    """A name that led to an open address a moment ago and leads inside now is refused now (DNS rebinding)."""
    names = FakeNames({"rebind.example": [["127.0.0.1"], ["127.0.0.2"], ["::1"]]})
    guard = await make_guard("127.0.0.1", names=names)
    url = canary.url(host="rebind.example")
    assert await read(guard, url) == b"la la la"
    assert await refused(guard, url) == UNREACHABLE
    assert await refused(guard, url) == UNREACHABLE
    assert tried == ["127.0.0.1"]
    assert canary.hits == 1
    assert names.asked == ["rebind.example"] * 3


async def test_what_is_inside_is_left_out_of_many_addresses(
    make_guard: MakeGuard, canary: Canary, tried: list[str]
) -> None:
    """Of a name's addresses those that are open are tried, and those inside never."""
    many = ["10.0.0.1", "::1", "fd00::1", "127.0.0.1", "192.168.0.1"]
    guard = await make_guard("127.0.0.1", names=FakeNames({"many.example": [many]}))
    assert await read(guard, canary.url(host="many.example")) == b"la la la"
    assert tried == ["127.0.0.1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://inside.example:{port}/",
        "http://user@open.example:{port}/",
        "https://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "data:,x",
        "ftp://open.example/",
        "gopher://open.example:{port}/",
    ],
)
async def test_redirects_inside_are_refused(
    make_guard: MakeGuard, tried: list[str], status: int, location: str
) -> None:
    """Each hop is judged as if it were the first."""
    hosts = {"open.example": [["127.0.0.1"]], "inside.example": [["127.0.0.2"]]}
    guard = await make_guard("127.0.0.1", names=FakeNames(hosts))
    async with Canary().serve("127.0.0.1", "127.0.0.2", "::1") as canary:
        canary.answer = redirect(location.format(port=canary.port), status)
        await refused(guard, canary.url(host="open.example"))
        assert canary.hits == 1
    assert tried == ["127.0.0.1"]


async def test_hosts_are_open_hop_by_hop(make_guard: MakeGuard, tried: list[str]) -> None:
    """A host that is open by name is asked, and opens no other that it redirects to."""
    hosts = {"media.lan": [["127.0.0.1"]], "other.lan": [["127.0.0.1"]], "public.example": [["127.0.0.2"]]}
    guard = await make_guard("media.lan", "127.0.0.2", names=FakeNames(hosts))
    async with Canary().serve("127.0.0.1", "127.0.0.2") as canary:
        assert await read(guard, canary.url(host="MEDIA.lan")) == b"la la la"
        canary.answer = redirect(canary.url(host="other.lan"))
        assert await refused(guard, canary.url(host="media.lan")) == UNREACHABLE
        assert tried == ["127.0.0.1"] * 2
        first = canary.url(host="public.example")
        canary.answer = _by_host({"public.example": redirect(canary.url(host="media.lan"))})
        assert await read(guard, first) == b"found"
    assert tried == ["127.0.0.1"] * 2 + ["127.0.0.2", "127.0.0.1"]


def _by_host(answers: dict[str, Callable[[web.Request], Awaitable[web.Response]]]):
    async def answer(request: web.Request) -> web.StreamResponse:
        host = request.headers["Host"].split(":")[0]
        return await answers[host](request) if host in answers else web.Response(body=b"found")

    return answer


async def test_networks_are_open(make_guard: MakeGuard) -> None:
    """A network that is open is reached by address, also as IPv6 that means IPv4, and by any name."""
    guard = await make_guard("127.0.0.0/8", "::1/128", names=FakeNames({"any.example": [["127.0.0.1"]]}))
    async with Canary().serve("127.0.0.1", "::1") as canary:
        for host in ("127.0.0.1", "[::1]", "any.example", "[::ffff:127.0.0.1]"):
            assert await read(guard, canary.url(host=host)) == b"la la la"
        assert canary.hits == 4


async def test_redirects_end(make_guard: MakeGuard, canary: Canary) -> None:
    """Five redirects are followed, and a sixth isn't; nor is one that names nothing."""
    guard = await make_guard("127.0.0.1")

    async def count_down(request: web.Request) -> web.Response:
        left = int(request.path[1:])
        return await redirect(f"/{left - 1}")(request) if left else web.Response(body=b"there")

    canary.answer = count_down
    assert await read(guard, canary.url(f"/{MAX_REDIRECTS}")) == b"there"
    assert canary.hits == MAX_REDIRECTS + 1
    with pytest.raises(FailedDownload):
        await read(guard, canary.url(f"/{MAX_REDIRECTS + 1}"))
    assert canary.hits == 2 * (MAX_REDIRECTS + 1)
    canary.answer = redirect("")
    async with guard.get(canary.url(), {}) as reply:
        assert reply.status == 302


async def test_the_same_words_for_all_that_does_not_answer(make_guard: MakeGuard, tried: list[str]) -> None:
    """Inside or not there, without a name or without a server: the words don't tell which."""
    hosts = {"inside.example": [["10.0.0.1"]], "closed.example": [["127.0.0.1"]], "far.example": [["8.8.8.8"]]}
    guard = await make_guard("127.0.0.1", names=FakeNames(hosts))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    urls = [f"http://{host}:{port}/" for host in (*hosts, "10.0.0.1", "nowhere.example")]
    assert {await refused(guard, url) for url in urls} == {UNREACHABLE}
    assert tried == ["127.0.0.1", "8.8.8.8"]  # the second was stopped by the watch


async def test_a_refusal_is_final_and_a_silent_host_is_not(make_guard: MakeGuard) -> None:
    """What can't change is not tried again: a refused address, an unknown name. A server may come back."""
    guard = await make_guard(names=FakeNames({"inside.example": [["10.0.0.1"]], "far.example": [["8.8.8.8"]]}))
    for final in ("http://inside.example/", "http://nowhere.example/", "http://10.0.0.1/"):
        with pytest.raises(RefusedAddress):
            await read(guard, final)
    with pytest.raises(Broken):
        await read(guard, "http://far.example/")


async def test_nothing_private_is_sent(
    make_guard: MakeGuard, canary: Canary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy, .netrc, cookie or credential of this machine goes out, and a body is asked for as it is."""
    proxy = Canary()
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    guard = await make_guard("127.0.0.1")

    async def set_cookie(request: web.Request) -> web.Response:
        reply = await redirect("/next?signed=%2F%20")(request) if request.path == "/" else web.Response()
        reply.set_cookie("session", "secret")
        return reply

    canary.answer = set_cookie
    async with proxy.serve():
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url("/"))
        await read(guard, canary.url("/"))
        await read(guard, canary.url("/again"))
    assert proxy.hits == 0
    assert [request.raw_path for request in canary.requests] == ["/", "/next?signed=%2F%20", "/again"]
    for request in canary.requests:
        sent = {name.lower() for name in request.headers}
        assert sent == {"host", "accept", "accept-encoding", "user-agent", "connection"}
        assert request.headers["Accept-Encoding"] == "identity"


async def test_what_is_sent_goes_to_one_address(make_guard: MakeGuard, canary: Canary, tried: list[str]) -> None:
    """A body arrives as it is at the host that was named, judged like any other; a redirect is only a reply."""
    guard = await make_guard("127.0.0.1", names=FakeNames({"inside.example": [["127.0.0.2"]]}))
    bodies = []

    async def take(request: web.Request) -> web.Response:
        bodies.append((request.method, request.headers.get("X-Name"), await request.read()))
        return await redirect("/elsewhere", 307)(request)

    canary.answer = take
    async with guard.post(canary.url("/hook?signed=%2F"), {"X-Name": "x"}, b"\x00{}") as reply:
        assert reply.status == 307
    assert bodies == [("POST", "x", b"\x00{}")]
    assert [request.raw_path for request in canary.requests] == ["/hook?signed=%2F"]
    for url in (canary.url(host="inside.example"), canary.url(host="127.0.0.2"), canary.url(host="nowhere.example")):
        with pytest.raises(RefusedAddress):
            async with guard.post(url, {}, b"{}"):
                pass
    assert tried == ["127.0.0.1"]


async def test_compressed_bodies_stay_compressed(make_guard: MakeGuard, canary: Canary) -> None:
    """A body is never inflated: a small one could become endless."""
    guard = await make_guard("127.0.0.1")

    async def squeeze(_request: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8bnot gzip", headers={"Content-Encoding": "gzip"})

    canary.answer = squeeze
    assert await read(guard, canary.url()) == b"\x1f\x8bnot gzip"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", FailedDownload),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", FailedDownload),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 500 + b"\r\n", FailedDownload),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", FailedDownload),
        (b"", Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Len", Broken),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Broken),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", Broken),
    ],
)
async def test_broken_servers_are_told_apart(make_guard: MakeGuard, reply: bytes, expected: type[Exception]) -> None:
    """Endless headers and what isn't HTTP are no server's reply; what breaks off can be asked for again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    guard = await make_guard("127.0.0.1")
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(expected) as failure:
            await read(guard, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?secret")
    assert "secret" not in f"{failure.value!r} {failure.value.__cause__!r}"


async def test_a_silent_server_is_given_up(make_guard: MakeGuard, canary: Canary) -> None:
    """A server that takes the request and says nothing is left after the time for that, and may be tried again."""
    guard = await make_guard("127.0.0.1", idle_seconds=0.05)
    silent = asyncio.Event()

    async def wait(_request: web.Request) -> web.Response:
        await silent.wait()
        return web.Response()

    canary.answer = wait
    with pytest.raises(Broken) as failure:
        await read(guard, canary.url())
    assert failure.value.problem.detail == "The server sent nothing for 0.05 seconds."
    silent.set()


async def test_tls_must_prove_the_name(make_guard: MakeGuard, canary: Canary) -> None:
    """https to what doesn't speak it fails for good, and not in the clear."""
    guard = await make_guard("127.0.0.1")
    with pytest.raises(FailedDownload):
        await read(guard, canary.url().replace("http:", "https:"))
    assert canary.hits == 0


async def test_own_errors_pass_through(make_guard: MakeGuard, canary: Canary) -> None:
    """What the reader of a body raises stays what it is, and the connection is gone afterwards."""
    guard = await make_guard("127.0.0.1")
    for error in (OSError(28, "full"), TimeoutError("mine"), Problem("mine")):
        with pytest.raises(type(error)) as failure:
            async with guard.get(canary.url(), {}):
                raise error
        assert failure.value is error


async def test_lookups_have_threads_of_their_own() -> None:
    """Names are looked up by the system, beside the threads that write files; what is no name is an OSError."""
    names = Names()
    try:
        (found,) = await names.resolve("127.0.0.1", 80)
        assert (found["host"], found["port"], found["family"]) == ("127.0.0.1", 80, socket.AF_INET)
        with pytest.raises(socket.gaierror):
            await names.resolve("a" * 64, 80)
    finally:
        await names.close()


async def test_dead_name_servers_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names of a few domains are never answered, others are, and each name is looked up once at a time."""
    alive, looked_up = threading.Event(), []

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        looked_up.append(host)
        if host.endswith("dead.example"):
            assert alive.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    names = Names()
    dead = [f"{number}.{zone}-dead.example" for number in range(50) for zone in "abc"]
    try:
        asking = [asyncio.create_task(names.resolve(host, 80)) for host in (*dead, *dead)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            (found,) = await names.resolve("music.example.org", 80)
        assert found["host"] == "192.0.2.1"
        for task in asking:  # as a connection does that takes too long
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        again = [asyncio.create_task(names.resolve(dead[0], 80)) for _ in range(9)]
        await asyncio.sleep(0)
        alive.set()
        assert all([(await task)[0]["host"] == "192.0.2.1" for task in again])
        assert looked_up.count(dead[0]) == 1
    finally:
        alive.set()
        await names.close()
