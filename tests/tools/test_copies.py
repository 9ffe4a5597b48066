"""Copies of files of other servers: downloaded once, kept while there is room, current when asked. Loopback only."""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import FileIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from support.deadline import eventually
from support.neighbours.canary import watch_connections
from support.neighbours.origin import Origin

from streamsrv.errors import DiskFull, FailedDownload, InternalError, RefusedAddress
from streamsrv.extract.copies import Copies, Copy
from streamsrv.outbound.addresses import Allowed
from streamsrv.outbound.download import DownloadLimits, Downloads
from streamsrv.outbound.guard import Guard
from streamsrv.storage.shelf import Shelf

MIB = 1 << 20
ONE = random.Random(1).randbytes(3 * MIB + 17)
TWO = random.Random(2).randbytes(2 * MIB + 5)
HALF = 2_000_000
LIMITS = DownloadLimits(max_bytes=8 * MIB, max_seconds=20, attempts=2, wait_seconds=0.001, max_wait_seconds=0.01)
FRESH_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch_connections(monkeypatch)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin(ONE, half_bytes=HALF)
    async with origin.canary.serve():
        yield origin


class House:
    """What a server has, which may be started again: a shelf on the disk, and copies in it; and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_000_000.0

    @asynccontextmanager
    async def open(
        self, *, max_bytes: int = 100 * MIB, at_once: int = 4, per_host: int = 4
    ) -> AsyncIterator[SimpleNamespace]:
        async with AsyncExitStack() as opened:
            guard = Guard(Allowed.parse(["127.0.0.1", "127.0.0.2"]), connect_seconds=5, idle_seconds=60)
            downloads = Downloads(await opened.enter_async_context(guard), LIMITS)
            shelf = await opened.enter_async_context(Shelf(self.folder, max_bytes=max_bytes))
            copies = Copies(
                downloads,
                shelf,
                fresh_seconds=FRESH_SECONDS,
                at_once=at_once,
                per_host=per_host,
                clock=lambda: self.now,
            )
            await opened.enter_async_context(copies)
            yield SimpleNamespace(shelf=shelf, copies=copies)

    def files(self, url: str) -> set[str]:
        """What lies there for an address."""
        folder = self.folder / hashlib.sha256(url.encode()).hexdigest()
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "shelf")


@pytest.fixture
async def copies(house: House) -> AsyncIterator[Copies]:
    async with house.open() as opened:
        yield opened.copies


def check(copy: Copy, body: bytes = ONE) -> None:
    assert copy.path.read_bytes() == body
    assert (copy.size, copy.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert copy.path.name == copy.sha256


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def read(copies: Copies, url: str, body: bytes = ONE) -> None:
    async with copies.current(url) as copy:
        check(copy, body)


class Watch:
    """Who wants a copy, in a task that can be cancelled, and what it was told of the progress."""

    def __init__(self, tasks: asyncio.TaskGroup, copies: Copies, url: str) -> None:
        self.told: list[tuple[int, int | None]] = []
        self.task = tasks.create_task(self._read(copies, url))

    async def _read(self, copies: Copies, url: str) -> None:
        async with copies.current(url, lambda have, total: self.told.append((have, total))) as copy:
            check(copy)

    @property
    def have(self) -> int:
        return self.told[-1][0] if self.told else 0


async def test_a_copy_is_downloaded_once(origin: Origin, house: House, copies: Copies) -> None:
    """While a copy is fresh it is given without a question; beside it lies its note, and nothing else."""
    for _ in range(3):
        await read(copies, origin.url())
    async with copies.kept(origin.url()) as copy:
        check(copy)
    assert origin.asked == ["whole"]
    assert house.files(origin.url()) == {sha256(ONE), "note.json"}


async def test_an_old_copy_is_asked_about(origin: Origin, house: House, copies: Copies) -> None:
    """When it isn't fresh any more its server is asked; what is still current is fresh again and stays as it is."""
    await read(copies, origin.url())
    async with copies.current(origin.url()) as copy:
        before = copy.path.stat()
    house.now += FRESH_SECONDS
    await read(copies, origin.url())
    await read(copies, origin.url())
    assert origin.asked == ["whole", "changed?"]
    async with copies.current(origin.url()) as copy:
        assert copy.path.stat().st_ino == before.st_ino
    house.now -= 10 * FRESH_SECONDS
    await read(copies, origin.url())
    assert origin.asked == ["whole", "changed?", "changed?"]  # a clock that was set back makes nothing fresh


async def test_any_age_will_do(origin: Origin, house: House, copies: Copies) -> None:
    """Whoever takes a kept copy gets it however old it is, and downloads it only where there is none."""
    async with copies.kept(origin.url()) as copy:
        check(copy)
    origin.change(TWO)
    house.now += 1000 * FRESH_SECONDS
    async with copies.kept(origin.url()) as copy:
        check(copy, ONE)
    assert origin.asked == ["whole"]


async def test_what_has_changed_is_downloaded(origin: Origin, house: House, copies: Copies) -> None:
    """A new content is a new copy; who holds the old one reads it to the end of the block, and then it goes."""
    async with copies.current(origin.url()) as old:
        origin.change(TWO)
        house.now += FRESH_SECONDS
        async with copies.current(origin.url()) as new:
            check(new, TWO)
            check(old, ONE)
        await read(copies, origin.url(), TWO)
        check(old, ONE)
    await eventually(lambda: house.files(origin.url()) == {sha256(TWO), "note.json"})
    assert origin.asked == ["whole", "changed?", "whole"]


async def test_what_is_there_is_counted(origin: Origin, house: House) -> None:
    """What the shelf counts is what is there: both contents while the old one is read, one afterwards."""
    async with house.open() as opened:
        async with opened.copies.current(origin.url()):
            origin.change(TWO)
            house.now += FRESH_SECONDS
            await read(opened.copies, origin.url(), TWO)
            assert opened.shelf.size > len(ONE) + len(TWO)
        await eventually(lambda: len(TWO) < opened.shelf.size < len(TWO) + 1000)


async def test_a_part_outlives_old_contents(origin: Origin, house: House, copies: Copies) -> None:
    """When old contents go, what came of a download that was left stays."""
    async with copies.current(origin.url()) as old:
        origin.change(TWO)
        house.now += FRESH_SECONDS
        await read(copies, origin.url(), TWO)
        origin.body, origin.etag, origin.gate = ONE[::-1], '"three"', asyncio.Event()
        house.now += FRESH_SECONDS
        async with asyncio.TaskGroup() as tasks:
            watch = Watch(tasks, copies, origin.url())
            await eventually(lambda: watch.have == HALF)
            watch.task.cancel()
        origin.gate.set()
        check(old)
    await eventually(lambda: copies._sources == {})
    assert house.files(origin.url()) == {sha256(TWO), "note.json", "part", "part.note"}


async def test_without_a_validator_it_is_downloaded_again(origin: Origin, house: House, copies: Copies) -> None:
    """A server that names no version can't be asked; the same content again leaves the file as it is."""
    origin.etag = None
    async with copies.current(origin.url()) as copy:
        before = copy.path.stat().st_ino
        house.now += FRESH_SECONDS
        async with copies.current(origin.url()) as again:
            check(again)
            assert again.path.stat().st_ino == before
    assert origin.asked == ["whole", "whole"]
    assert house.files(origin.url()) == {sha256(ONE), "note.json"}


async def test_twenty_at_once(origin: Origin, copies: Copies) -> None:
    """Twenty who ask at the same time cause one download, and all are told how far it is."""
    origin.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        first = Watch(tasks, copies, origin.url())
        await eventually(lambda: first.have == HALF)
        others = [Watch(tasks, copies, origin.url()) for _ in range(19)]
        await eventually(lambda: all(watch.have == HALF for watch in others))
        origin.gate.set()
    assert all(watch.told[-1] == (len(ONE), len(ONE)) for watch in [first, *others])
    assert origin.asked == ["whole"]


async def test_it_goes_on_for_the_other(origin: Origin, copies: Copies) -> None:
    """Who leaves doesn't take along what another one waits for."""
    origin.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        first, second = (Watch(tasks, copies, origin.url()) for _ in range(2))
        await eventually(lambda: first.have == second.have == HALF)
        first.task.cancel()
        await asyncio.wait([first.task])
        assert not second.task.done()
        origin.gate.set()
    assert first.task.cancelled()
    assert first.have == HALF
    assert origin.asked == ["whole"]


async def test_the_last_one_leaves_a_part(origin: Origin, house: House, copies: Copies) -> None:
    """When the last one leaves the download ends; what came stays, and the next one, even at once, goes on with it."""
    origin.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        watches = [Watch(tasks, copies, origin.url()) for _ in range(2)]
        await eventually(lambda: all(watch.have == HALF for watch in watches))
        for watch in watches:
            watch.task.cancel()
        await asyncio.wait([watch.task for watch in watches])
        gate, origin.gate = origin.gate, None
        async with asyncio.timeout(5):
            await read(copies, origin.url())
        gate.set()
    assert origin.asked == ["whole", "rest"]
    assert house.files(origin.url()) == {sha256(ONE), "note.json"}


async def test_a_stop_leaves_a_part(origin: Origin, house: House) -> None:
    """When the server stops who waits is told, and after the next start the download goes on where it stopped."""
    origin.gate = asyncio.Event()

    async def wait_in_vain(copies: Copies) -> None:
        with pytest.raises(InternalError, match="stopping"):
            await read(copies, origin.url())

    async with asyncio.TaskGroup() as tasks, house.open() as opened:
        waiting = tasks.create_task(wait_in_vain(opened.copies))
        watch = Watch(tasks, opened.copies, origin.url())
        await eventually(lambda: watch.have == HALF)
        watch.task.cancel()
    assert waiting.done()
    assert house.files(origin.url()) == {"part", "part.note"}
    origin.gate.set()
    async with house.open() as opened:
        assert opened.shelf.size > HALF
        await read(opened.copies, origin.url())
    assert origin.asked == ["whole", "rest"]
    async with house.open() as opened:
        await read(opened.copies, origin.url())
    assert origin.asked == ["whole", "rest"]


async def test_a_failure_is_everybodys(origin: Origin, house: House, copies: Copies) -> None:
    """All who wait learn in words why the file can't be had; the next one tries again."""
    origin.gate = asyncio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        assert origin.gate is not None
        await origin.gate.wait()
        return web.Response(status=404)

    answer, origin.canary.answer = origin.canary.answer, stall
    async with asyncio.TaskGroup() as tasks:
        reads = [tasks.create_task(_failure(copies, origin.url())) for _ in range(3)]
        await eventually(lambda: origin.canary.hits == 1)
        origin.gate.set()
    assert [read.result() for read in reads] == ["The server answered 404."] * 3
    origin.canary.answer = answer
    await read(copies, origin.url())
    house.now += FRESH_SECONDS
    origin.statuses = [410]
    assert await _failure(copies, origin.url()) == "The server answered 410."
    assert len(origin.asked) == 3


async def _failure(copies: Copies, url: str) -> str:
    with pytest.raises(FailedDownload) as failure:
        await read(copies, url)
    return failure.value.detail


async def test_a_refused_address(copies: Copies) -> None:
    """An address that isn't fetched is refused, by its letters at once."""
    with pytest.raises(RefusedAddress):
        copies.check("http://10.0.0.1/")
    with pytest.raises(RefusedAddress):
        await read(copies, "http://10.0.0.1/")


@pytest.mark.parametrize("damage", ["cut", "gone", "no note", "torn note", "another's note"])
async def test_what_is_not_whole_is_downloaded_again(origin: Origin, house: House, copies: Copies, damage: str) -> None:
    """A file that isn't as its note says, as after a power cut, isn't given: it is downloaded again."""
    async with copies.current(origin.url()) as copy:
        note = copy.path.with_name("note.json")
    match damage:
        case "cut":
            os.truncate(copy.path, 1000)
        case "gone":
            copy.path.unlink()
        case "no note":
            note.unlink()
        case "torn note":
            note.write_bytes(note.read_bytes()[:-9])
        case "another's note":
            note.write_text(json.dumps(json.loads(note.read_bytes()) | {"source": "0" * 64}))
    async with copies.kept(origin.url()) as copy:
        check(copy)
    assert origin.asked == ["whole", "whole"]
    assert house.files(origin.url()) == {sha256(ONE), "note.json"}


async def test_room_is_made(origin: Origin, house: House) -> None:
    """Where there is no room for all, copies that were used longest ago go first, and none while it is held."""
    a, b, c = (origin.url(path) for path in ("/a", "/b", "/c"))
    async with house.open(max_bytes=2 * len(ONE) + 10_000) as opened:
        async with opened.copies.current(a) as held:
            for url in (b, c):
                await read(opened.copies, url)
            await eventually(lambda: house.files(b) == set())
            check(held)
            await read(opened.copies, c)
        await read(opened.copies, b)
        await eventually(lambda: house.files(c) == set())
        await read(opened.copies, a)
        assert origin.canary.hits == 4
    assert len(list(house.folder.iterdir())) == 2


async def test_so_many_at_once(origin: Origin, house: House) -> None:
    """No more files than allowed are downloaded at the same time; the others come after them."""
    origin.gate = asyncio.Event()
    async with house.open(at_once=2) as opened, asyncio.TaskGroup() as tasks:
        watches = [Watch(tasks, opened.copies, origin.url(f"/{number}")) for number in range(5)]
        await eventually(lambda: sum(watch.have == HALF for watch in watches) == 2)
        assert origin.canary.hits == 2
        assert origin.open_replies == 2
        origin.gate.set()
    assert origin.canary.hits == 5


async def test_a_slow_host_takes_its_own_places_only(origin: Origin, house: House) -> None:
    """Of one host so many files at once; files of another come meanwhile."""
    origin.gate = asyncio.Event()
    quick = Origin(ONE)
    async with (
        quick.canary.serve("127.0.0.2"),
        house.open(at_once=3, per_host=2) as opened,
        asyncio.TaskGroup() as tasks,
    ):
        slow = [Watch(tasks, opened.copies, origin.url(f"/{number}")) for number in range(5)]
        await eventually(lambda: sum(watch.have == HALF for watch in slow) == 2)
        await read(opened.copies, quick.canary.url("/film.flac", host="127.0.0.2"))
        assert (origin.canary.hits, quick.canary.hits) == (2, 1)
        origin.gate.set()
    assert origin.canary.hits == 5


async def test_a_full_disk_costs_other_copies(origin: Origin, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full, copies that nobody holds go, and it is tried once more; then it is told."""
    full: list[bool] = []

    class Disk(FileIO):
        def write(self, data: object) -> int:
            if full and full.pop():
                raise OSError(28, "full")
            return super().write(data)  # type: ignore[arg-type]

    async with house.open() as opened:
        await read(opened.copies, origin.url("/a"))
        monkeypatch.setattr("streamsrv.outbound.part.FileIO", Disk)
        full.append(True)
        await read(opened.copies, origin.url("/b"))
        assert house.files(origin.url("/a")) == set()
        async with opened.copies.current(origin.url("/b")):
            full.append(True)
            with pytest.raises(DiskFull):
                await read(opened.copies, origin.url("/c"))
        assert house.files(origin.url("/b")) != set()


async def test_an_address_is_forgotten(origin: Origin, house: House, copies: Copies) -> None:
    """Nothing is remembered of addresses that nobody uses."""
    for number in range(3):
        await read(copies, origin.url(f"/{number}"))
    await eventually(lambda: copies._sources == {})
