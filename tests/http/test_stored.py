"""A file that stays, sent over HTTP by an application that does nothing else: whole, in part, and to odd clients."""

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.deadline import eventually
from support.wire.ending import Ending
from support.wire.link import linked
from support.wire.upload import connect

from streamsrv.errors import DownloadTimeout, InternalError
from streamsrv.web.problems import answer_problems
from streamsrv.web.requests import name_requests
from streamsrv.web.stored import send_stored

MIB = 1 << 20
# More than two bites of what is read at a time, and no multiple of it.
SIZE = 2 * MIB + 12_345
# More than the system takes in for a client that reads nothing.
LARGE = 64 * MIB
WAIT_SECONDS = 10


class Shelf(Ending):
    """The application: one folder of files, and how the last request ended."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.idle_seconds = 30.0
        self.sending = asyncio.Event()
        self.app = web.Application()
        name_requests(self.app)
        answer_problems(self.app)
        self.app.router.add_get("/{name}", self._send)
        self.app.on_response_prepare.append(self._begin)

    async def _begin(self, _request: web.Request, _reply: web.StreamResponse) -> None:
        self.sending.set()

    async def _send(self, request: web.Request) -> web.StreamResponse:
        with self.noted():
            return await send_stored(
                request,
                self.folder / request.match_info["name"],
                etag="v1",
                media_type="audio/flac",
                name="Jóga.flac",
                cache_control="immutable",
                idle_seconds=self.idle_seconds,
            )

    def open_files(self) -> list[str]:
        """Those files of the folder that this process has open."""
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return [str(target) for target in map(os.path.realpath, links) if target.startswith(str(self.folder))]

    async def has_closed(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await self.done.wait()
        await eventually(lambda: not self.open_files(), what=self.open_files)


@pytest.fixture(scope="module")
def body() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def shelf(tmp_path: Path, body: bytes) -> Shelf:
    folder = tmp_path.resolve() / "shelf"
    folder.mkdir()
    (folder / "song").write_bytes(body)
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    with (folder / "large").open("wb") as file:
        file.truncate(LARGE)
    return Shelf(folder)


@pytest.fixture
async def client(shelf: Shelf) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(shelf.app)) as client:
        yield client


def said(reply: Any) -> dict[str, str]:
    """The headers of a reply, but those that differ each time."""
    return {name: value for name, value in reply.headers.items() if name not in {"Date", "X-Request-ID"}}


def stall(client: TestClient[Any, Any], path: str, window_bytes: int = 4096) -> socket.socket:
    """Ask for a file, and read nothing."""
    link = connect(str(client.make_url("/")), window_bytes=window_bytes)
    link.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    return link


class TestWhole:
    async def test_headers(self, client: TestClient[Any, Any], body: bytes) -> None:
        """GET sends all bytes and says what they are and are called, how long to keep them, and that ranges work."""
        async with client.get("/song") as reply:
            assert (reply.status, await reply.read()) == (200, body)
        assert reply.headers["X-Request-ID"]
        assert said(reply) == {
            "Content-Length": str(SIZE),
            "Content-Type": "audio/flac",
            "Content-Disposition": "inline; filename=\"Joga.flac\"; filename*=UTF-8''J%C3%B3ga.flac",
            "Accept-Ranges": "bytes",
            "Cache-Control": "immutable",
            "Etag": '"v1"',
            "Server": reply.headers["Server"],
        }

    @pytest.mark.parametrize("path", ["/song", "/empty"])
    async def test_head_equals_get(self, client: TestClient[Any, Any], path: str) -> None:
        """HEAD has the headers of GET, Content-Length included, and no body; Range changes nothing."""
        async with client.get(path) as whole:
            await whole.read()
        async with client.head(path, headers={"Range": "bytes=5-9"}) as reply:
            assert (reply.status, await reply.read()) == (200, b"")
        assert said(reply) == said(whole)

    @pytest.mark.parametrize("ranges", [{}, {"Range": "bytes=-5"}])
    async def test_empty(self, client: TestClient[Any, Any], ranges: dict[str, str]) -> None:
        """An empty file is sent as one, and has no last bytes."""
        async with client.get("/empty", headers=ranges) as reply:
            assert (reply.status, await reply.read(), reply.headers["Content-Length"]) == (200, b"", "0")

    async def test_in_step(self, client: TestClient[Any, Any], body: bytes) -> None:
        """After replies without a body, and after parts, the next reply on the connection begins where it should."""
        requests = [
            "HEAD /song HTTP/1.1\r\n",
            'GET /song HTTP/1.1\r\nIf-None-Match: "v1"\r\n',
            "GET /empty HTTP/1.1\r\n",
            "HEAD /empty HTTP/1.1\r\n",
            "GET /song HTTP/1.1\r\nRange: bytes=9-11\r\n",
            "GET /song HTTP/1.1\r\nRange: bytes=65-67\r\nConnection: close\r\n",
        ]
        async with linked(client.port) as link:
            await link.write("".join(f"{request}Host: a\r\n\r\n" for request in requests).encode())
            received = await link.rest()
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", received) == [b"200", b"304", b"200", b"200", b"206", b"206"]
        assert received.endswith(b"\r\n\r\n" + body[65:68])


class TestParts:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(first=st.integers(0, SIZE - 1), last=st.none() | st.integers(0, SIZE + 10), suffix=st.booleans())
    def test_any_slice(self, slices: "Slices", body: bytes, first: int, last: int | None, suffix: bool) -> None:
        """Whatever part is asked for, it is that part, with its length and its place."""
        if suffix:
            start, stop, asked = SIZE - first - 1, SIZE, f"-{first + 1}"
        else:
            last = None if last is None else max(first, last)
            start, stop = first, SIZE if last is None else min(last + 1, SIZE)
            asked = f"{first}-{'' if last is None else last}"
        status, headers, part = slices.ask(f"bytes={asked}")
        assert (status, part == body[start:stop]) == (206, True)
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert headers["Content-Length"] == str(stop - start)

    @pytest.mark.parametrize(("path", "size"), [("/song", SIZE), ("/empty", 0)])
    async def test_beyond_the_end(self, client: TestClient[Any, Any], path: str, size: int) -> None:
        """416 is a problem that names the size."""
        async with client.get(path, headers={"Range": f"bytes={size}-"}) as reply:
            document = json.loads(await reply.read())
        assert (reply.status, document["type"]) == (416, "/problems/range-not-satisfiable")
        assert reply.headers["Content-Range"] == f"bytes */{size}"

    @pytest.mark.parametrize("ranges", ["bytes=0-1,5-6", "items=0-1", "bytes=9-1", "bytes=x"])
    async def test_ignored(self, client: TestClient[Any, Any], body: bytes, ranges: str) -> None:
        """Several ranges, and what isn't one, get the whole file."""
        async with client.get("/song", headers={"Range": ranges}) as reply:
            assert (reply.status, await reply.read() == body) == (200, True)
        assert "Content-Range" not in reply.headers

    @pytest.mark.parametrize(("tag", "status"), [('"v1"', 206), ('"v0"', 200), ('W/"v1"', 200)])
    async def test_if_range(self, client: TestClient[Any, Any], body: bytes, tag: str, status: int) -> None:
        """A resumed download of a file that was another one starts anew."""
        async with client.get("/song", headers={"Range": "bytes=7-9", "If-Range": tag}) as reply:
            part = await reply.read()
        assert (reply.status, part == (body[7:10] if status == 206 else body)) == (status, True)

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_known(self, client: TestClient[Any, Any], method: str) -> None:
        """304 has no body, and the tag and cache rule of a 200."""
        async with client.request(method, "/song", headers={"If-None-Match": '"v1"'}) as reply:
            assert (reply.status, await reply.read()) == (304, b"")
        assert (reply.headers["ETag"], reply.headers["Cache-Control"]) == ('"v1"', "immutable")
        assert "Content-Disposition" not in reply.headers

    async def test_other_file(self, client: TestClient[Any, Any]) -> None:
        """412 where another file was meant."""
        async with client.get("/song", headers={"If-Match": '"v0"'}) as reply:
            assert reply.status == 412


class Slices:
    """The application for tests that can't wait: its requests run in a loop that is kept."""

    def __init__(self, runner: asyncio.Runner, client: TestClient[Any, Any]) -> None:
        self._runner = runner
        self._client = client

    def ask(self, ranges: str) -> tuple[int, Any, bytes]:
        return self._runner.run(self._ask(ranges))

    async def _ask(self, ranges: str) -> tuple[int, Any, bytes]:
        async with self._client.get("/song", headers={"Range": ranges}) as reply:
            return reply.status, reply.headers, await reply.read()


@pytest.fixture
def slices(shelf: Shelf) -> Any:
    async def start() -> TestClient[Any, Any]:
        client: TestClient[Any, Any] = TestClient(TestServer(shelf.app))
        await client.start_server()
        return client

    with asyncio.Runner() as runner:
        client = runner.run(start())
        yield Slices(runner, client)
        runner.run(client.close())


class TestAccidents:
    @pytest.mark.parametrize("path", ["/nowhere", "/folder", "/song%2Fbelow"])
    async def test_nothing_there(self, client: TestClient[Any, Any], path: str) -> None:
        """Where there is no such file it is 404, in words that tell no path."""
        async with client.get(path, headers={"Range": "bytes=0-1"}) as reply:
            document = json.loads(await reply.read())
        assert (reply.status, document["type"]) == (404, "/problems/not-found")
        assert "shelf" not in json.dumps(document)

    async def test_unlinked(self, client: TestClient[Any, Any], shelf: Shelf) -> None:
        """A file that is removed while it is sent is still sent whole."""
        async with client.get("/large") as reply:
            (shelf.folder / "large").unlink()
            assert len(await reply.read()) == LARGE
        await shelf.has_closed()

    async def test_shrunk(self, client: TestClient[Any, Any], shelf: Shelf) -> None:
        """A file that shrinks while it is sent cuts the connection: nobody takes the part for the whole."""
        async with client.get("/large") as reply:
            with (shelf.folder / "large").open("r+b") as file:
                file.truncate(MIB)
            with pytest.raises((ClientPayloadError, ClientConnectionError)):
                await reply.read()
        await shelf.has_closed()
        assert named(shelf.error) == [InternalError]

    async def test_client_gone(self, client: TestClient[Any, Any], shelf: Shelf) -> None:
        """A client that leaves in the middle leaves no file open."""
        async with client.get("/large") as reply:
            await reply.content.readexactly(MIB)
            assert shelf.open_files() != []
            reply.close()
        await shelf.has_closed()
        assert shelf.error is not None

    async def test_stalled(self, client: TestClient[Any, Any], shelf: Shelf) -> None:
        """A client that takes nothing is cut off in time, and can tell that it hasn't all."""
        shelf.idle_seconds = 0.2
        with stall(client, "/large") as link:
            await shelf.has_closed()
            assert named(shelf.error) == [DownloadTimeout]
            assert await asyncio.to_thread(drain, link) < LARGE

    async def test_slow(self, client: TestClient[Any, Any], shelf: Shelf, body: bytes) -> None:
        """A client that takes a little now and then gets all, however long that takes."""
        shelf.idle_seconds = 0.3
        received = bytearray()
        with stall(client, "/large", 64 << 10) as link:
            link.setblocking(False)
            loop = asyncio.get_running_loop()
            started = loop.time()
            while loop.time() - started < 5 * shelf.idle_seconds:
                received += await loop.sock_recv(link, 256 << 10)
                await asyncio.sleep(0.05)  # this is how slow the client is
            assert shelf.sending.is_set()
            assert not shelf.done.is_set()
            while data := await loop.sock_recv(link, MIB):
                received += data
        assert len(received) == LARGE + received.index(b"\r\n\r\n") + 4
        await shelf.has_closed()
        assert shelf.error is None


def named(error: BaseException | None) -> list[type[BaseException]]:
    """What went wrong, without the groups around it."""
    if isinstance(error, BaseExceptionGroup):
        return [kind for inner in error.exceptions for kind in named(inner)]
    return [] if error is None else [type(error)]


def drain(link: socket.socket) -> int:
    """Read to the end, whatever that is; returns how much came."""
    total = 0
    try:
        while data := link.recv(MIB):
            total += len(data)
    except ConnectionResetError:  # that is how it is cut
        pass
    return total
