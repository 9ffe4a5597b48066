"""A file that grows, and the folder of all that do."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.deadline import eventually

from streamsrv.errors import Conflict, DiskFull
from streamsrv.storage.spool import MAX_PENDING_BYTES, Spool, SpoolAborted, Spools

MIB = 1 << 20


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    return Spools(tmp_path / "spool")


class SlowDisk:
    """Writes wait until they are let through."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.writes = 0

    def write(self, descriptor: int, data: bytes) -> int:
        self.writes += 1
        assert self.open.wait(10)
        return os.pwrite(descriptor, data, os.fstat(descriptor).st_size)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk()
    monkeypatch.setattr(os, "write", disk.write)
    yield disk
    disk.open.set()


async def read_all(spool: Spool, chunk_bytes: int = 1000) -> bytes:
    return b"".join([chunk async for chunk in spool.chunks(chunk_bytes)])


def descriptors(folder: Path) -> list[Path]:
    """What this process has open below the folder."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # a thread has closed it meanwhile
            found.append(link.readlink())
    return [path for path in found if path.is_relative_to(folder)]


@settings(max_examples=20, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=5000) | st.just(bytes(MIB)), max_size=6),
    chunk_bytes=st.integers(1, 100_000).map(lambda number: max(number, 500)),
)
def test_readers_get_what_was_appended(
    tmp_path_factory: pytest.TempPathFactory, pieces: list, chunk_bytes: int
) -> None:
    """A reader that was there before, one that comes in the middle and one after the end all get all bytes in order."""

    async def run() -> None:
        spools = Spools(tmp_path_factory.mktemp("spool"))
        spool = await spools.create("a")
        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(read_all(spool, chunk_bytes))]
            for number, piece in enumerate(pieces):
                if number == len(pieces) // 2:
                    readers.append(tasks.create_task(read_all(spool, MIB)))
                await spool.append(piece)
            await spool.end()
            readers.append(tasks.create_task(read_all(spool, MIB)))
        sent = b"".join(pieces)
        assert [reader.result() == sent for reader in readers] == [True] * len(readers)
        assert spool.path.read_bytes() == sent
        assert (spool.size, spool.ended, spool.aborted) == (len(sent), True, False)
        await spool.abort()

    asyncio.run(run())


async def test_a_waiting_reader_gets_a_small_append_at_once(spools: Spools) -> None:
    """A reader that waits need not wait for a whole write's worth of bytes, nor for the next append."""
    spool = await spools.create("a")
    await spool.append(b"early")
    chunks = spool.chunks()
    async with asyncio.timeout(5):
        assert await anext(chunks) == b"early"
        waiting = asyncio.ensure_future(anext(chunks))
        await eventually(lambda: spool._waiting_readers == 1)
        await spool.append(b"late")
        assert await waiting == b"late"
    assert isinstance(chunks, AsyncGenerator)
    await chunks.aclose()
    await spool.abort()


async def test_a_slow_sender_is_seen_to_progress(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any reader, `size` follows small appends within a moment."""
    monkeypatch.setattr("streamsrv.storage.spool.FLUSH_SECONDS", 0.0)
    spool = await spools.create("a")
    await spool.append(b"some")
    await eventually(lambda: spool.size == 4)
    await spool.abort()


async def test_what_a_stalled_sender_left_is_written(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays in memory that no further append comes for: a moment later it is on its way to the disk."""
    monkeypatch.setattr("streamsrv.storage.spool.FLUSH_SECONDS", 0.2)
    spool = await spools.create("a")
    await spool.append(b"some")
    assert spool._pending
    await eventually(lambda: spool.size == 4, seconds=5)
    assert not spool._pending
    await spool.abort()


async def test_small_appends_are_written_together(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody waits, a thread is used once for a MiB and not once for each append."""
    monkeypatch.setattr("streamsrv.storage.spool.FLUSH_SECONDS", 60.0)
    spool = await spools.create("a")
    writes: list[int] = []

    def write(pieces: list[bytes]) -> int:
        writes.append(sum(map(len, pieces)))
        return writes[-1]

    monkeypatch.setattr(spool, "_write_pieces", write)
    for _ in range(4 * 64):
        await spool.append(bytes(16 << 10))
        await eventually(lambda: spool._write is None)
    assert writes == [MIB] * 4
    await spool.abort()


async def test_head(spools: Spools) -> None:
    """The head comes as soon as it is there, and is shorter only if the spool ends before. It may begin later, too."""
    spool = await spools.create("a")
    waiting = asyncio.ensure_future(spool.head(5))
    await spool.append(b"abcdefgh")
    async with asyncio.timeout(5):
        assert await waiting == b"abcde"
        long = asyncio.ensure_future(spool.head(100))
        await eventually(lambda: spool._waiting_readers == 1)
        await spool.end()
        assert await long == b"abcdefgh"
        assert [await spool.head(3, 2), await spool.head(9, 6), await spool.head(3, 99)] == [b"cde", b"gh", b""]
    await spool.abort()


async def test_a_slow_disk_slows_the_sender(spools: Spools, slow_disk: SlowDisk) -> None:
    """`append` waits while the disk is behind, with one write in flight; nothing is lost when it goes on."""
    spool = await spools.create("a")
    appended = 0

    async def send() -> None:
        nonlocal appended
        for number in range(20):
            await spool.append(bytes([number]) * MIB)
            appended += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        await eventually(lambda: spool._pending_bytes >= MAX_PENDING_BYTES and slow_disk.writes > 0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert appended <= 1 + MAX_PENDING_BYTES // MIB
        assert slow_disk.writes == 1
        assert spool.size == 0
        slow_disk.open.set()
    await spool.end()
    assert await read_all(spool, MIB) == b"".join(bytes([number]) * MIB for number in range(20))
    await spool.abort()


async def test_end_makes_the_file_durable(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers see the end before the disk has it; `end` returns only after that."""
    spool = await spools.create("a")
    await spool.append(b"sound")
    allowed, synced = threading.Event(), []

    def sync(descriptor: int) -> None:
        assert allowed.wait(5)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    ending = asyncio.ensure_future(spool.end())
    async with asyncio.timeout(5):
        assert await read_all(spool) == b"sound"
        assert not ending.done()
        allowed.set()
        await ending
    assert synced == [5]
    with pytest.raises(RuntimeError):
        await spool.append(b"more")
    await spool.abort()


async def test_seal_is_the_end_for_readers_alone(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    """What won't be kept is sealed: readers have all bytes and the end, nothing more can come, the disk isn't asked."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    spool = await spools.create("a")
    waiting = [asyncio.ensure_future(read_all(spool)), asyncio.ensure_future(spool.head(100))]
    await eventually(lambda: spool._waiting_readers == 2)
    await spool.append(b"sound" * 10)
    async with asyncio.timeout(5):
        await spool.seal()
        assert await asyncio.gather(*waiting) == [b"sound" * 10] * 2
    assert (spool.size, spool.ended, synced) == (50, True, [])
    assert await read_all(spool) == spool.path.read_bytes() == b"sound" * 10
    with pytest.raises(RuntimeError):
        await spool.append(b"more")
    await spool.seal()
    await spool.end()
    assert synced == [spool._descriptor]
    await spool.abort()
    with pytest.raises(SpoolAborted):
        await spool.seal()
    assert not spool.path.exists()


async def test_seal_waits_for_the_disk(spools: Spools, slow_disk: SlowDisk) -> None:
    """While bytes are on their way there is no end, for readers and for the one who seals."""
    spool = await spools.create("a")
    await spool.append(bytes(MIB))
    await spool.append(b"last")
    sealing = asyncio.ensure_future(spool.seal())
    await eventually(lambda: slow_disk.writes == 1)
    assert (spool.ended, sealing.done()) == (False, False)
    slow_disk.open.set()
    async with asyncio.timeout(5):
        await sealing
    assert (spool.size, spool.ended) == (MIB + 4, True)
    await spool.abort()


async def test_abort_removes_the_file_and_tells_readers(spools: Spools, tmp_path: Path) -> None:
    """After an abort the file is gone, waiting and later readers are told, and so is the one who appends or ends."""
    spool = await spools.create("a")
    await spool.append(b"sound")
    waiting = [asyncio.ensure_future(read_all(spool)), asyncio.ensure_future(spool.head(100))]
    await eventually(lambda: spool.size == 5)
    await spool.abort()
    await spool.abort()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SpoolAborted, SpoolAborted]
    for operation in (read_all(spool), spool.append(b"x"), spool.end()):
        with pytest.raises(SpoolAborted):
            await operation
    assert list((tmp_path / "spool").iterdir()) == []
    assert (spool.aborted, spool.ended, spools.get("a")) == (True, False, None)
    again = await spools.create("a")
    await again.abort()


async def test_abort_waits_for_the_write_in_flight(spools: Spools, slow_disk: SlowDisk, tmp_path: Path) -> None:
    """An abort while the disk writes is safe, also if the one who appends is cancelled; then all space is free."""
    spool = await spools.create("a")
    sending = asyncio.ensure_future(spool.append(bytes(4 * MIB)))
    second = asyncio.ensure_future(spool.append(bytes(4 * MIB)))
    await eventually(lambda: slow_disk.writes == 1)
    second.cancel()
    aborting = asyncio.ensure_future(spool.abort())
    await eventually(lambda: spool.aborted)
    assert spools.get("a") is None
    with pytest.raises(Conflict):
        await spools.create("a")
    slow_disk.open.set()
    await aborting
    await asyncio.gather(sending, second, return_exceptions=True)
    assert not spool.path.exists()
    assert descriptors(tmp_path) == []


async def test_a_full_disk(spools: Spools) -> None:
    """No space is DiskFull for this append or a later one, and for the end; the abort still works."""
    spool = await spools.create("a")
    real, full = os.dup(spool._descriptor), os.open("/dev/full", os.O_RDWR)
    os.dup2(full, spool._descriptor)
    with pytest.raises(DiskFull):
        await asyncio.gather(*(spool.append(bytes(MIB)) for _ in range(5)))
    for operation in (spool.append(b"x"), spool.seal(), spool.end()):
        with pytest.raises(DiskFull):
            await operation
    assert (spool.size, spool.ended) == (0, False)
    os.dup2(real, spool._descriptor)
    await spool.abort()
    assert not spool.path.exists()
    os.close(real)
    os.close(full)


async def test_who_waits_for_what_cant_be_written_is_told(spools: Spools) -> None:
    """The bytes never come: a reader that waited for them would wait for ever."""
    spool = await spools.create("a")
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, spool._descriptor)
    os.close(full)
    async with asyncio.timeout(10):
        await spool.append(bytes(1000))
        with pytest.raises(DiskFull):
            await spool.head(1000)
        with pytest.raises(DiskFull):
            await anext(spool.chunks())


async def test_a_released_file_can_still_be_read(spools: Spools, tmp_path: Path) -> None:
    """After the file was renamed and released, readers begin and finish as before; an abort touches nothing."""
    spool = await spools.create("a")
    await spool.append(b"sound" * 100)
    early = spool.chunks(100)
    first = await anext(early)
    with pytest.raises(RuntimeError):
        spools.release("a")
    await spool.end()
    spool.path.rename(tmp_path / "kept")
    spools.release("a")
    spools.release("a")
    assert spools.get("a") is None
    other = await spools.create("a")
    await spool.abort()
    assert other.path.exists()
    assert first + b"".join([chunk async for chunk in early]) == b"sound" * 100
    assert await read_all(spool) == b"sound" * 100
    assert (tmp_path / "kept").read_bytes() == b"sound" * 100
    await other.abort()


async def test_abort_spares_a_file_that_was_taken_over(spools: Spools, tmp_path: Path) -> None:
    """An abort after the rename, before the release, leaves the file to its new owner."""
    spool = await spools.create("a")
    await spool.append(b"sound")
    await spool.end()
    spool.path.rename(tmp_path / "kept")
    await spool.abort()
    assert (tmp_path / "kept").read_bytes() == b"sound"


async def test_no_descriptor_stays_open(spools: Spools, tmp_path: Path) -> None:
    """Once nobody holds a spool any more, its descriptor is closed."""
    for finish in ("abort", "end"):
        spool = await spools.create("a")
        await spool.append(b"x")
        assert len(descriptors(tmp_path)) == 1
        await getattr(spool, finish)()
        spools.release("a")
        del spool
        await eventually(lambda: descriptors(tmp_path) == [])


async def test_an_aborted_upload_holds_no_descriptor(spools: Spools, tmp_path: Path) -> None:
    """It is closed at once, whoever still holds the spool, as the traceback of what ended its upload may for long."""
    spool = await spools.create("a")
    await spool.append(b"sound")
    assert len(descriptors(tmp_path)) == 1
    await spool.abort()
    assert descriptors(tmp_path) == []
    with pytest.raises(SpoolAborted):
        await spool.head(1)


async def test_a_reader_has_its_descriptor_to_the_end(
    spools: Spools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that is under way in a thread when the upload is aborted reads its own file, and then that is closed."""
    reading, goes_on = threading.Event(), threading.Event()
    pread, seen = os.pread, []

    def read_slowly(descriptor: int, count: int, offset: int) -> bytes:
        reading.set()
        assert goes_on.wait(10)
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        return pread(descriptor, count, offset)

    spool = await spools.create("a")
    await spool.append(b"sound")
    await spool.seal()
    monkeypatch.setattr(os, "pread", read_slowly)
    reader = asyncio.create_task(spool.head(5))
    await eventually(reading.is_set)
    await spool.abort()
    assert len(descriptors(tmp_path)) == 1
    goes_on.set()
    with pytest.raises(SpoolAborted):
        await reader
    assert [path.name for path in seen] == ["a (deleted)"]
    assert descriptors(tmp_path) == []


async def test_a_beginning_that_is_cancelled_leaves_nothing(spools: Spools, tmp_path: Path) -> None:
    """Whoever leaves while an upload begins leaves neither file nor descriptor."""
    await spools.sweep()
    for number in range(100):
        beginning = asyncio.create_task(spools.create(f"upload-{number}"))
        await asyncio.sleep(0)
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
    await eventually(lambda: not list((tmp_path / "spool").iterdir()) and not descriptors(tmp_path))


async def test_names(spools: Spools) -> None:
    """One spool at a time has a name, and a name leads nowhere else."""
    spool = await spools.create("a")
    assert spools.get("a") is spool
    assert spools.get("b") is None
    with pytest.raises(Conflict):
        await spools.create("a")
    for name in ("", "..", ".hidden", "a/b", "ä", "a\n"):
        with pytest.raises(ValueError, match="not a name"):
            await spools.create(name)
    await spool.abort()


async def test_sweep(spools: Spools, tmp_path: Path) -> None:
    """Sweeping removes what a killed server left, and makes the folder where there is none."""
    await spools.sweep()
    (tmp_path / "spool" / "left").write_bytes(b"x")
    await spools.sweep()
    assert list((tmp_path / "spool").iterdir()) == []
