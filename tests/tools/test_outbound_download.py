"""Files from other servers: whole, within limits, however often the connection breaks. Loopback only."""

import asyncio
import errno
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from io import FileIO
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader, web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from support.deadline import eventually
from support.neighbours.canary import Canary, FakeNames, watch_connections

from streamsrv.errors import DiskFull, FailedDownload, RefusedAddress
from streamsrv.outbound.addresses import Allowed
from streamsrv.outbound.download import Downloaded, DownloadLimits, Downloads, Progress
from streamsrv.outbound.guard import Broken, Guard
from streamsrv.outbound.patience import Patience
from streamsrv.outbound.replies import Offer, Version, condition_headers, read_offer, read_retry_after

MIB = 1 << 20
BODY = random.Random(1).randbytes(3 * MIB + 17)
LIMITS = DownloadLimits(max_bytes=8 * MIB, max_seconds=20, attempts=3, wait_seconds=0.001, max_wait_seconds=0.01)


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch_connections(monkeypatch)


@pytest.fixture(autouse=True)
def _nothing_beside(tmp_path: Path):
    """After every test the folder holds the file itself, or the part with its note, and nothing else."""
    yield
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"file", "file.note"}
    assert "file" in left or "file.note" not in left


@pytest.fixture
async def guard() -> AsyncIterator[Guard]:
    names = FakeNames({"inside.example": [["10.0.0.1"]]})
    async with Guard(Allowed.parse(["127.0.0.1"]), connect_seconds=5, idle_seconds=5, resolver=names) as guard:
        yield guard


@pytest.fixture
async def shelf() -> AsyncIterator["Shelf"]:
    shelf = Shelf()
    async with shelf.canary.serve():
        yield shelf


class Shelf:
    """One file on a web server that knows ranges. `cuts` are the bytes after which its next replies break off."""

    def __init__(self) -> None:
        self.canary = Canary(self._answer)
        self.body = BODY
        self.etag: str | None = '"one"'
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.chunked = False
        self.knows_if_range = True
        self.content_range: str | None = None
        self.gate: asyncio.Event | None = None
        self.after: Callable[[int], None] = lambda _: None
        self.taken: int | None = None

    @property
    def url(self) -> str:
        return self.canary.url("/video.mp4?secret=1")

    def watch(self) -> Progress:
        """Break off only when all that was sent has been taken; give the progress callback that tells."""
        self.taken = 0

        def take(have: int, _total: int | None) -> None:
            self.taken = have

        return take

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("Range") for request in self.canary.requests]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return web.Response(status=status, headers=self.headers, body=b"an error page")
        start = self._start(request)
        if start >= len(self.body) > 0:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.body)}"})
        reply = web.StreamResponse(status=206 if start else 200, headers=self.headers)
        if self.etag is not None:
            reply.headers["ETag"] = self.etag
        if start:
            last = len(self.body) - 1
            reply.headers["Content-Range"] = self.content_range or f"bytes {start}-{last}/{len(self.body)}"
        if not self.chunked:
            reply.content_length = len(self.body) - start
        await reply.prepare(request)
        await self._send(request, reply, start)
        return reply

    def _start(self, request: web.Request) -> int:
        asked = request.headers.get("Range")
        if asked is None or (self.knows_if_range and request.headers.get("If-Range") != self.etag):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    async def _send(self, request: web.Request, reply: web.StreamResponse, start: int) -> None:
        cut = self.cuts.pop(0) if self.cuts else None
        stop = len(self.body) if cut is None else start + cut
        for at in range(start, stop, 100_000):
            await reply.write(self.body[at : min(stop, at + 100_000)])
        if self.gate is not None:
            await self.gate.wait()
        self.after(stop)
        if cut is not None and request.transport is not None:
            await eventually(lambda: self.taken is None or self.taken >= stop)
            request.transport.close()


def downloads(guard: Guard, **changed: float) -> Downloads:
    fields = {name: getattr(LIMITS, name) for name in LIMITS.__slots__}
    return Downloads(guard, DownloadLimits(**fields | changed))


def check(downloaded: Downloaded, path: Path, body: bytes = BODY) -> None:
    assert path.read_bytes() == body
    assert downloaded.size == len(body)
    assert downloaded.sha256 == hashlib.sha256(body).hexdigest()


async def test_a_file_comes_whole(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """The bytes are the server's, with their size, hash and names, and progress counts up to them."""
    shelf.headers = {"Last-Modified": "Sat, 29 Oct 1994 19:43:31 GMT"}
    seen: list[tuple[int, int | None]] = []
    got = await downloads(guard).fetch(shelf.url, tmp_path / "file", lambda have, total: seen.append((have, total)))
    check(got, tmp_path / "file")
    assert got.url == shelf.canary.url("/video.mp4")
    assert (got.etag, got.last_modified) == ('"one"', "Sat, 29 Oct 1994 19:43:31 GMT")
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((0, len(BODY)), (len(BODY), len(BODY)))
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


async def test_a_file_of_unknown_length_comes_whole(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """Where the server doesn't say how much comes, its end of the body counts."""
    shelf.chunked = True
    seen: set[int | None] = set()
    got = await downloads(guard).fetch(shelf.url, tmp_path / "file", lambda _, total: seen.add(total))
    check(got, tmp_path / "file")
    assert seen == {None}


async def test_an_empty_file_is_a_file(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A file of no bytes was downloaded, too."""
    shelf.body = b""
    check(await downloads(guard).fetch(shelf.url, tmp_path / "file"), tmp_path / "file", b"")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_broken_download_goes_on_where_it_was(
    guard: Guard, shelf: Shelf, tmp_path: Path, chunked: bool
) -> None:
    """Each try asks for what is missing, of this very version; in the end the bytes are right."""
    shelf.chunked = chunked
    shelf.cuts = [1_200_000, 1, 0, MIB, 500_000]
    check(await downloads(guard).fetch(shelf.url, tmp_path / "file", shelf.watch()), tmp_path / "file")
    starts = [1_200_000, 1_200_001, 1_200_001, 1_200_001 + MIB, 1_700_001 + MIB]
    assert shelf.ranges == [None, *(f"bytes={start}-" for start in starts)]
    assert {request.headers.get("If-Range") for request in shelf.canary.requests[1:]} == {'"one"'}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 1_500_000), max_size=5),
    versions=st.lists(st.sampled_from(['"one"', '"two"', 'W/"weak"', None]), max_size=5),
)
async def test_any_breaks_give_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], versions: list[str | None]
) -> None:
    """Wherever a download breaks, and whether the file changes meanwhile: it is one version of it, from end to end."""

    shelf = Shelf()

    def change(_sent: int) -> None:
        if versions:
            shelf.etag = versions.pop(0)
            shelf.body = BODY if shelf.etag == '"one"' else repr(shelf.etag).encode() * 100_000

    shelf.cuts, shelf.after = list(cuts), change
    path = tmp_path_factory.mktemp("download") / "file"
    async with shelf.canary.serve(), Guard(Allowed.parse(["127.0.0.1"]), connect_seconds=5, idle_seconds=5) as guard:
        got = await downloads(guard, attempts=9).fetch(shelf.url, path)
    assert got.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.read_bytes() in {BODY, *(repr(etag).encode() * 100_000 for etag in ('"two"', 'W/"weak"', None))}


@pytest.mark.parametrize("etag", [None, 'W/"weak"', "unquoted"])
async def test_without_a_strong_tag_it_begins_anew(
    guard: Guard, shelf: Shelf, tmp_path: Path, etag: str | None
) -> None:
    """What can't be told to be the same file is never joined."""
    shelf.etag = etag
    shelf.cuts = [2_000_000, 3_000_000]
    progress: list[int] = []
    got = await downloads(guard).fetch(shelf.url, tmp_path / "file", lambda have, _: progress.append(have))
    check(got, tmp_path / "file")
    assert shelf.ranges == [None] * 3
    assert progress.count(0) == 3


async def test_a_file_that_changed_begins_anew(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A new version between two tries is downloaded from its start: 200 instead of 206."""
    new = BODY[::-1]

    def change(_sent: int) -> None:
        shelf.etag, shelf.body = '"two"', new

    shelf.cuts, shelf.after = [2_000_000], change
    got = await downloads(guard).fetch(shelf.url, tmp_path / "file", shelf.watch())
    check(got, tmp_path / "file", new)
    assert got.etag == '"two"'
    assert shelf.ranges == [None, "bytes=2000000-"]


@pytest.mark.parametrize(
    "content_range",
    [
        *("bytes 0-3145744/3145745", "bytes 2000001-3145744/3145745", "bytes 2000000-3145744/3145746"),
        *("bytes 2000000-3145744/*", "bytes 2000000-3145743/9", "items 2000000-3145744/3145745", "nonsense"),
    ],
)
async def test_a_wrong_part_is_thrown_away(guard: Guard, shelf: Shelf, tmp_path: Path, content_range: str) -> None:
    """A reply that isn't the part that was asked for never gets into the file: it begins anew."""
    shelf.cuts, shelf.content_range = [2_000_000], content_range
    check(await downloads(guard).fetch(shelf.url, tmp_path / "file", shelf.watch()), tmp_path / "file")
    assert shelf.ranges == [None, "bytes=2000000-", None]


async def test_a_part_of_another_version_is_thrown_away(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A server that doesn't know If-Range, and sends the rest of a new version, is asked for the whole of that."""
    new = BODY[::-1]

    def change(_sent: int) -> None:
        shelf.etag, shelf.body = '"two"', new

    shelf.cuts, shelf.after, shelf.knows_if_range = [2_000_000], change, False
    got = await downloads(guard).fetch(shelf.url, tmp_path / "file", shelf.watch())
    check(got, tmp_path / "file", new)
    assert shelf.ranges == [None, "bytes=2000000-", None]


async def test_a_file_that_shrank_begins_anew(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A range beyond the end of the file (416) says that what is there isn't of it."""

    def shrink(_sent: int) -> None:
        shelf.body = BODY[:1_000_000]

    shelf.cuts, shelf.after = [2_000_000], shrink
    check(
        await downloads(guard).fetch(shelf.url, tmp_path / "file", shelf.watch()), tmp_path / "file", BODY[:1_000_000]
    )
    assert shelf.ranges == [None, "bytes=2000000-", None]


async def test_a_part_that_is_a_part_is_followed_by_the_next(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A server that sends less than the rest is asked for the rest of it."""
    starts = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if "Range" not in request.headers:
            return await shelf._answer(request)
        start = int(request.headers["Range"][6:-1])
        starts.append(start)
        stop = min(len(BODY), start + MIB)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(BODY)}", "ETag": '"one"'}
        return web.Response(status=206, headers=headers, body=BODY[start:stop])

    shelf.canary.answer, shelf.cuts = answer, [1_000_000]
    check(await downloads(guard).fetch(shelf.url, tmp_path / "file", shelf.watch()), tmp_path / "file")
    assert starts == [1_000_000, 1_000_000 + MIB, 1_000_000 + 2 * MIB]


async def test_a_short_body_is_never_whole(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A file that always breaks off fails, after as many tries in a row that brought nothing new."""
    shelf.etag, shelf.cuts = None, [1000] * 20
    with pytest.raises(FailedDownload) as failure:
        await downloads(guard).fetch(shelf.url, tmp_path / "file")
    assert failure.value.detail == "The connection broke off."
    assert shelf.canary.hits == 1 + LIMITS.attempts
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 403, 404, 410, 416, 418])
async def test_some_replies_are_final(guard: Guard, shelf: Shelf, tmp_path: Path, status: int) -> None:
    """What the server has decided isn't asked twice, and an error page isn't taken for the file."""
    shelf.statuses = [status] * 5
    with pytest.raises(FailedDownload) as failure:
        await downloads(guard).fetch(shelf.url, tmp_path / "file")
    assert failure.value.detail == f"The server answered {status}."
    assert failure.value.status == 422
    assert shelf.canary.hits == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_some_replies_are_asked_for_again(guard: Guard, shelf: Shelf, tmp_path: Path, status: int) -> None:
    """A server in trouble is asked again, some times, with a wait that it may lengthen up to a bound."""
    shelf.headers = {"Retry-After": "86400"}
    shelf.statuses = [status] * (LIMITS.attempts - 1)
    check(await downloads(guard).fetch(shelf.url, tmp_path / "file"), tmp_path / "file")
    shelf.statuses = [status] * LIMITS.attempts
    (tmp_path / "file").unlink()
    with pytest.raises(FailedDownload, match=f"answered {status}"):
        await downloads(guard).fetch(shelf.url, tmp_path / "file")
    assert shelf.canary.hits == 2 * LIMITS.attempts


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("Sat, 29 Oct 1994 19:43:31 GMT", 0), ("soon", None), ("-1", None), ("1.5", None), ("", None)],
)
def test_retry_after_is_read(value: str, seconds: float | None) -> None:
    """Retry-After is a number of seconds or a date; what is neither is as if it weren't there."""
    with pytest.raises(Broken) as broken:
        read_offer(503, {"Retry-After": value}, Version(), 0)
    assert broken.value.retry_after == seconds


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2020 99999999999999999999:00:00 GMT",
        "9" * 400,
        "9" * 5000,
        "\u0661\u0662",
        "1_0",
        "1e9",
        "",
    ],
)
def test_an_absurd_moment_is_none(value: str) -> None:
    """A date or a number that can't be is no date and no number, wherever a server says it."""
    assert read_retry_after(value) is None
    assert condition_headers(None, value) == {}
    assert read_offer(200, {"Content-Length": value}, Version(), 0) == Offer(0, Version())


async def test_an_announced_giant_is_refused_at_once(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A Content-Length above the limit is refused before a byte of the body is written."""
    shelf.gate = asyncio.Event()
    received: list[int] = []
    with pytest.raises(FailedDownload) as failure:
        await downloads(guard, max_bytes=len(BODY) - 1).fetch(
            shelf.url, tmp_path / "file", lambda have, _: received.append(have)
        )
    assert failure.value.detail == f"The file has more than {len(BODY) - 1} bytes."
    assert received == []
    assert shelf.canary.hits == 1
    shelf.gate.set()


async def test_a_secret_giant_is_refused_on_its_way(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """Without a length the limit is kept as the bytes come; a file of just that size passes."""
    shelf.chunked = True
    received = [0]
    with pytest.raises(FailedDownload):
        await downloads(guard, max_bytes=MIB).fetch(shelf.url, tmp_path / "file", lambda have, _: received.append(have))
    assert max(received) <= MIB
    assert shelf.canary.hits == 1
    check(await downloads(guard, max_bytes=len(BODY)).fetch(shelf.url, tmp_path / "file"), tmp_path / "file")


async def test_a_stalled_server_is_left_and_asked_for_the_rest(shelf: Shelf, tmp_path: Path) -> None:
    """After a silence the download goes on over a new connection."""
    shelf.cuts, shelf.gate = [2_000_000], asyncio.Event()
    impatient = Guard(Allowed.parse(["127.0.0.1"]), connect_seconds=5, idle_seconds=0.2)
    async with impatient as guard, asyncio.TaskGroup() as tasks:
        fetch = tasks.create_task(downloads(guard).fetch(shelf.url, tmp_path / "file"))
        await eventually(lambda: shelf.canary.hits == 2)
        shelf.gate.set()
    check(fetch.result(), tmp_path / "file")
    assert shelf.ranges == [None, "bytes=2000000-"]


async def test_a_slow_server_is_given_up(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A server that is never silent for long, but would take for ever, is left after the time for the whole."""

    async def drip(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Length": "1000000"})
        await reply.prepare(request)
        while request.transport is not None:
            await reply.write(b"drop")
            await asyncio.sleep(0.01)
        return reply

    shelf.canary.answer = drip
    with pytest.raises(FailedDownload) as failure:
        await downloads(guard, max_seconds=0.3).fetch(shelf.url, tmp_path / "file")
    assert failure.value.detail == "The download takes longer than 0.3 seconds."
    assert not (tmp_path / "file").exists()


async def test_a_server_below_the_least_rate_is_left(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """One that drips is left once its grace is over, and not asked again."""

    async def drip(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Length": "1000000", "ETag": '"one"'})
        await reply.prepare(request)
        while request.transport is not None:
            await reply.write(b"drop")
            await asyncio.sleep(0.01)
        return reply

    shelf.canary.answer = drip
    slow = downloads(guard, min_bytes_per_second=5000, grace_seconds=0.3, max_seconds=600)
    with pytest.raises(FailedDownload) as failure:
        await slow.fetch(shelf.url, tmp_path / "file")
    assert failure.value.detail == "The server sends less than 5000 bytes per second."
    assert shelf.canary.hits == 1
    assert not (tmp_path / "file").exists()


async def test_a_quick_server_is_taken_at_any_least_rate(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A file that comes quickly comes whole, be its grace ever so short."""
    quick = downloads(guard, min_bytes_per_second=10_000, grace_seconds=0.2)
    check(await quick.fetch(shelf.url, tmp_path / "file"), tmp_path / "file")


async def test_a_little_in_each_try_is_nothing(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A server that breaks off after some bytes, again and again, is given up as one that sends nothing."""
    shelf.cuts = [10] * 50
    with pytest.raises(FailedDownload, match="broke off"):
        await downloads(guard, min_bytes_per_second=1000).fetch(shelf.url, tmp_path / "file")
    assert shelf.canary.hits == LIMITS.attempts


async def test_patience_is_earned_and_bounded() -> None:
    """What comes buys time at the least rate, a minute at most; whoever is slower in the long run runs out of it."""
    content = StreamReader(Mock(_reading_paused=False), limit=1 << 30, loop=asyncio.get_running_loop())
    patience = Patience(1000, 10)

    async def send(count: int, seconds: float) -> None:
        content.feed_data(bytes(count))
        reading = patience.read(content)
        clock = iter([0.0, seconds])
        patience._clock = lambda: next(clock)
        assert len(await reading) == count

    for _ in range(50):
        await send(1000, 1.0)
    await send(10_000_000, 1.0)
    for _ in range(6):
        await send(10, 9.0)
    with pytest.raises(FailedDownload, match="less than 1000 bytes"):
        await send(10, 9.0)


async def test_waiting_counts_as_time(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """The time for the whole runs on between two tries."""
    shelf.statuses, shelf.headers = [503], {"Retry-After": "3600"}
    with pytest.raises(FailedDownload, match="takes longer than"):
        await downloads(guard, max_seconds=0.2, max_wait_seconds=3600).fetch(shelf.url, tmp_path / "file")
    assert shelf.canary.hits == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "whatever"])
async def test_a_compressed_file_is_refused(guard: Guard, shelf: Shelf, tmp_path: Path, encoding: str) -> None:
    """What was packed on its way isn't the file, and is never unpacked."""
    shelf.headers = {"Content-Encoding": encoding}
    with pytest.raises(FailedDownload, match="compressed"):
        await downloads(guard).fetch(shelf.url, tmp_path / "file")
    assert shelf.canary.hits == 1


async def test_redirects_that_go_round_end(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """A loop of redirects fails, without another try."""

    async def turn(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/video.mp4"})

    shelf.canary.answer = turn
    with pytest.raises(FailedDownload, match="leads on more than 5 times"):
        await downloads(guard).fetch(shelf.url, tmp_path / "file")
    assert shelf.canary.hits == 6


async def test_a_refused_address_leaves_nothing(guard: Guard, tmp_path: Path) -> None:
    """Neither an address that is refused by its letters nor one whose name leads inside makes a file."""
    for url in ("file:///etc/passwd", "http://10.0.0.1/", "http://inside.example/", "http://nowhere.example/"):
        for download in (downloads(guard).fetch, downloads(guard).resume):
            with pytest.raises(RefusedAddress):
                await download(url, tmp_path / "file")
            assert list(tmp_path.iterdir()) == []


async def test_many_at_once(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """Downloads don't wait for each other, and don't mix."""
    shelf.cuts = [0, 500_000, 1_000_000, 1_500_000, 2_000_000]
    shelf.gate = asyncio.Event()
    folder = tmp_path / "file"
    folder.mkdir()
    async with asyncio.TaskGroup() as tasks:
        fetches = [tasks.create_task(downloads(guard).fetch(shelf.url, folder / f"{number}")) for number in range(20)]
        await eventually(lambda: shelf.canary.hits == 20)
        shelf.gate.set()
    for number, fetch in enumerate(fetches):
        check(fetch.result(), folder / f"{number}")


async def _cancel_midway(download: Callable[..., Coroutine[None, None, Downloaded]], shelf: Shelf, path: Path) -> None:
    """Cancel a download whose first 2,000,000 bytes have come."""
    shelf.cuts, shelf.gate = [2_000_000], asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(download(shelf.url, path, shelf.watch()))
        await eventually(lambda: shelf.taken == 2_000_000)
        task.cancel()
    assert task.cancelled()
    shelf.gate.set()
    shelf.gate = None


async def test_a_cancelled_download_leaves_nothing(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """Whoever cancels finds no file, and may begin again."""
    await _cancel_midway(downloads(guard).fetch, shelf, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    check(await downloads(guard).fetch(shelf.url, tmp_path / "file"), tmp_path / "file")


async def test_a_kept_part_is_gone_on_with(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """`resume` leaves what came, and the next one, even of another process, asks for the rest only."""
    await _cancel_midway(downloads(guard).resume, shelf, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[:2_000_000]
    with (tmp_path / "file").open("ab") as file:
        file.write(b"not synced, so not trusted")
    check(await downloads(guard).resume(shelf.url, tmp_path / "file"), tmp_path / "file")
    assert shelf.ranges == [None, "bytes=2000000-"]
    assert not (tmp_path / "file.note").exists()


@pytest.mark.parametrize("lost", ["another source", "no note", "broken note", "short file", "no file"])
async def test_what_cannot_be_trusted_begins_anew(guard: Guard, shelf: Shelf, tmp_path: Path, lost: str) -> None:
    """A part without its note, of another address or shorter than noted isn't continued."""
    await _cancel_midway(downloads(guard).resume, shelf, tmp_path / "file")
    match lost:
        case "no note":
            (tmp_path / "file.note").unlink()
        case "broken note":
            (tmp_path / "file.note").write_bytes(b"{")
        case "short file":
            os.truncate(tmp_path / "file", 1000)
        case "no file":
            (tmp_path / "file").unlink()
    url = shelf.url + ("&other" if lost == "another source" else "")
    check(await downloads(guard).resume(url, tmp_path / "file"), tmp_path / "file")
    assert shelf.ranges == [None, None]


async def test_a_part_without_a_version_is_not_kept(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """What could never be continued isn't left lying about."""
    shelf.etag = None
    await _cancel_midway(downloads(guard).resume, shelf, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_there_stays(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """`fetch` never touches a file that it didn't make."""
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        await downloads(guard).fetch(shelf.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert shelf.canary.hits == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_told(
    guard: Guard, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Where no space is left, the download ends with DiskFull at once and frees what it took."""

    class FullDisk(FileIO):
        def write(self, data: object) -> int:
            raise OSError(code, "full")

    monkeypatch.setattr("streamsrv.outbound.part.FileIO", FullDisk)
    for download in (downloads(guard).fetch, downloads(guard).resume):
        with pytest.raises(DiskFull):
            await download(shelf.url, tmp_path / "file")
        assert list(tmp_path.iterdir()) == []
    assert shelf.canary.hits == 2


async def test_logs_hold_no_secrets(guard: Guard, shelf: Shelf, tmp_path: Path) -> None:
    """Each try that failed and the end are a line each, and no line tells the query of the address."""
    shelf.cuts = [1000]
    with capture_logs(processors=[merge_contextvars]) as lines:
        await downloads(guard).fetch(shelf.url, tmp_path / "file")
        with pytest.raises(RefusedAddress):
            await downloads(guard).fetch("http://inside.example/?secret", tmp_path / "other")
    assert [line["event"] for line in lines] == ["stamina.retry_scheduled", "download_finished", "address_refused"]
    assert [line["source"] for line in lines[:2]] == [shelf.canary.url("/video.mp4")] * 2
    assert "secret" not in repr(lines)


CHANGED_AT = "Sat, 29 Oct 1994 19:43:31 GMT"


@pytest.mark.parametrize(
    ("etag", "last_modified", "asked"),
    [
        ('"one"', CHANGED_AT, {"If-None-Match": '"one"'}),
        ('W/"one"', None, {"If-None-Match": 'W/"one"'}),
        (None, CHANGED_AT, {"If-Modified-Since": CHANGED_AT}),
        ("no tag", CHANGED_AT, {"If-Modified-Since": CHANGED_AT}),
    ],
)
async def test_a_server_says_what_is_current(
    guard: Guard, shelf: Shelf, etag: str | None, last_modified: str | None, asked: dict[str, str]
) -> None:
    """A server that answers 304 to the best validator there is has still that version; one that answers 200 hasn't."""
    shelf.statuses = [304]
    assert await downloads(guard).is_current(shelf.url, etag, last_modified)
    assert not await downloads(guard).is_current(shelf.url, etag, last_modified)
    for request in shelf.canary.requests:
        assert {name: value for name, value in request.headers.items() if name.startswith("If-")} == asked


@pytest.mark.parametrize(("etag", "last_modified"), [(None, None), ("", ""), ('"\n"', "yesterday")])
async def test_without_a_validator_nothing_is_current(
    guard: Guard, shelf: Shelf, etag: str | None, last_modified: str | None
) -> None:
    """Where the server never said which version it sent, it isn't even asked."""
    assert not await downloads(guard).is_current(shelf.url, etag, last_modified)
    assert shelf.canary.hits == 0


async def test_a_new_version_is_not_read(guard: Guard, shelf: Shelf) -> None:
    """The question alone is answered: the body of a 200 is left, however much of it would come."""
    shelf.gate = asyncio.Event()
    async with asyncio.timeout(5):
        assert not await downloads(guard).is_current(shelf.url, '"other"', None)
    shelf.gate.set()


async def test_the_question_fails_as_a_download_does(guard: Guard, shelf: Shelf) -> None:
    """A server in trouble is asked again; what it has decided, and an address that is refused, is told at once."""
    shelf.statuses = [503] * (LIMITS.attempts - 1) + [304]
    assert await downloads(guard).is_current(shelf.url, '"one"', None)
    assert shelf.canary.hits == LIMITS.attempts
    shelf.statuses = [503] * LIMITS.attempts
    with pytest.raises(FailedDownload, match="answered 503"):
        await downloads(guard).is_current(shelf.url, '"one"', None)
    assert shelf.canary.hits == 2 * LIMITS.attempts
    shelf.statuses = [404]
    with pytest.raises(FailedDownload, match="answered 404"):
        await downloads(guard).is_current(shelf.url, '"one"', None)
    assert shelf.canary.hits == 2 * LIMITS.attempts + 1
    with pytest.raises(RefusedAddress):
        await downloads(guard).is_current("http://inside.example/", '"one"', None)
