"""A file that grows: one side appends and ends or aborts, any number of readers follow from its start."""

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

from streamsrv.errors import Conflict
from streamsrv.files import begin_writeback, disk_errors
from streamsrv.storage.disk import empty_folder
from streamsrv.storage.lent import Closed, LentFile
from streamsrv.storage.room import Room

# A thread costs little for a large write and much for a small one: while no reader waits, small appends are collected.
WRITE_BYTES = 1 << 20
# An append waits while so much is not yet on its way to the disk: a slow disk slows the sender and costs no memory.
MAX_PENDING_BYTES = 2 << 20
# The disk begins to store so much at a time while more arrives, so that little is left to sync at the end.
WRITEBACK_BYTES = 8 << 20
# What a slow sender appends is written at least so often, and so becomes readable.
FLUSH_SECONDS = 0.1
CHUNK_BYTES = 256 << 10

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")


class SpoolAborted(Exception):
    """The upload will never be complete, and its bytes are gone."""


class Spool:
    """One upload's bytes. Made by `Spools.create`; its owner calls `end` or `seal`, or `abort`, or both.

    One task appends. `size` counts the bytes that readers can have by now, `appended` all that came, of which some may
    have to be written yet; neither shrinks.
    The descriptor stays open as long as anybody holds the spool: a reader can begin and finish after the file was
    renamed. That of an aborted one is closed as soon as no thread uses it: whoever still holds the spool, as the
    traceback of what ended its upload does, holds no descriptor.
    """

    def __init__(self, path: Path, descriptor: int, forget: Callable[["Spool"], None]) -> None:
        self.path = path
        self.size = 0
        self.appended = 0
        self.ended = False
        self.aborted = False
        self._descriptor = descriptor
        self._file = LentFile(descriptor)
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._write: asyncio.Future[int] | None = None
        self._wrote_at = self._loop.time()
        self._error: OSError | None = None
        self._ending = False
        self._released = False
        self._removal: asyncio.Future[None] | None = None
        self._waiting_readers = 0
        self._changed = asyncio.Event()
        self._disk = threading.Lock()  # so that a removal waits for the write in flight
        self._written = 0
        self._written_back = 0
        self._timer: asyncio.TimerHandle | None = None  # for what a sender leaves pending that stalls

    async def append(self, data: bytes) -> None:
        """Add `data` at the end. Returns before it is on disk; waits while the disk is behind.

        Raises DiskFull or OSError for what failed now or earlier, SpoolAborted after `abort`.
        """
        self._check()
        if self._ending:
            raise RuntimeError("nothing can be appended after the end")
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.appended += len(data)
        self._flush_if_due()
        await self._until(lambda: self._pending_bytes < MAX_PENDING_BYTES)

    async def seal(self) -> None:
        """Mark the end, which readers see at once; all bytes can be read then. Raises as `append`."""
        self._check()
        self._ending = True
        self._flush()
        await self._until(lambda: self._write is None and not self._pending)
        self.ended = True
        self._notify()

    async def end(self) -> None:
        """`seal`, and make the file durable before returning: for what will be kept."""
        await self.seal()
        with disk_errors():
            await self._loop.run_in_executor(None, self._sync)
        self._check()

    async def abort(self) -> None:
        """Remove the file and tell its readers. Does nothing the second time, or after `release`."""
        if self._released:
            return
        if self._removal is None:
            self.aborted = True
            self._pending, self._pending_bytes = [], 0
            self._notify()
            self._removal = self._loop.run_in_executor(None, self._remove)
            self._removal.add_done_callback(lambda _: self._forget(self))
        await asyncio.shield(self._removal)

    def release(self) -> None:
        """Leave the file to the one who renamed it: `abort` no longer removes it, and readers can still finish."""
        if not self.ended:
            raise RuntimeError("a spool is released after its end")
        self._released = True
        self._forget(self)

    async def head(self, count: int, start: int = 0) -> bytes:
        """Give `count` bytes from `start` on as soon as they are there, or what there is when the spool ends.

        Raises as `append`: what can't be written never comes.
        """
        await self._readable(start + count)
        return await self._read(start, min(count, max(0, self.size - start)))

    async def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
        """Give all bytes from the start as they come, up to the end. Raises SpoolAborted when there won't be one."""
        offset = 0
        while await self._readable(offset + 1):
            data = await self._read(offset, min(chunk_bytes, self.size - offset))
            offset += len(data)
            yield data

    async def still_grows(self, seconds: float) -> bool:
        """Wait so long at most for the end; say whether more is to come. Raises as `append`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until(lambda: self.ended)
        return not self.ended

    def _check(self) -> None:
        if self.aborted:
            raise SpoolAborted
        if self._error is not None:
            with disk_errors():
                raise self._error

    def _flush_if_due(self) -> None:
        due = self._pending_bytes >= WRITE_BYTES or self._waiting_readers > 0 or self._ending
        if due or self._loop.time() - self._wrote_at > FLUSH_SECONDS:
            self._flush()
        elif self._pending and self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        """Begin to write what is pending, unless a write is in flight: when that ends, the next one begins."""
        self._timer = None
        if self._write is None and self._pending and self._error is None:
            pieces, self._pending, self._pending_bytes = self._pending, [], 0
            self._write = self._loop.run_in_executor(None, self._write_pieces, pieces)
            self._write.add_done_callback(self._after_write)

    def _after_write(self, write: asyncio.Future[int]) -> None:
        self._write = None
        self._wrote_at = self._loop.time()
        error = write.exception()
        if isinstance(error, OSError):
            self._error = error
        else:
            self.size += write.result()
        self._flush_if_due()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, reached: Callable[[], bool]) -> None:
        self._check()
        while not reached():
            await self._changed.wait()
            self._check()

    async def _readable(self, count: int) -> bool:
        """Wait until `count` bytes can be read, or the end; say whether they can. Raises as `append`."""
        self._waiting_readers += 1
        try:
            while self.size < count and not self.ended:
                self._check()
                self._flush()
                await self._changed.wait()
        finally:
            self._waiting_readers -= 1
        if self.aborted:
            raise SpoolAborted
        return self.size >= count

    async def _read(self, offset: int, count: int) -> bytes:
        with suppress(Closed):
            data = await self._loop.run_in_executor(None, self._pread, offset, count)
            if not self.aborted:  # else what was read may have been cut off already
                return data
        raise SpoolAborted

    # What follows runs in threads. Each is a method, so that the thread holds the spool and with it the descriptor.

    def _write_pieces(self, pieces: list[bytes]) -> int:
        with self._disk:
            if self.aborted:
                return 0
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._descriptor, view) :]
            count = sum(map(len, pieces))
            self._written += count
            if self._written - self._written_back >= WRITEBACK_BYTES:
                begin_writeback(self._descriptor, self._written_back, self._written - self._written_back)
                self._written_back = self._written
            return count

    def _pread(self, offset: int, count: int) -> bytes:
        with self._file.in_use():
            return os.pread(self._descriptor, count, offset)

    def _sync(self) -> None:
        with suppress(Closed), self._file.in_use():  # of what is closed nothing is kept
            os.fsync(self._descriptor)

    def _remove(self) -> None:
        with self._disk:
            try:
                self.path.unlink()
                os.ftruncate(self._descriptor, 0)
            except FileNotFoundError:
                return  # somebody has taken the file over
            finally:
                self._file.close()


class Spools:
    """The folder of all uploads that are arriving. Names are the caller's; one spool at a time has a name.

    An upload begins only where its disk has `room`.
    """

    def __init__(self, folder: Path, room: Room | None = None) -> None:
        self._folder = folder
        self._room = room
        self._spools: dict[str, Spool] = {}

    async def create(self, name: str) -> Spool:
        """Begin a new upload. Raises Conflict while another one has this name, and DiskFull."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name for a spool: {name!r}")
        if self._room is not None:
            await self._room.check()
        path = self._folder / name
        loop = asyncio.get_running_loop()
        making = loop.run_in_executor(None, _create, path)
        try:
            with disk_errors():
                descriptor = await asyncio.shield(making)
        except FileExistsError as error:
            raise Conflict("An upload of that name is still there.") from error
        except asyncio.CancelledError:
            # The thread makes it all the same.
            with suppress(OSError):
                await loop.run_in_executor(None, _undo, path, await making)
            raise
        spool = self._spools[name] = Spool(path, descriptor, self._forget)
        return spool

    def get(self, name: str) -> Spool | None:
        """The upload of this name, unless it was aborted or released."""
        spool = self._spools.get(name)
        return None if spool is None or spool.aborted else spool

    def release(self, name: str) -> None:
        """Forget an upload whose file belongs to somebody else now. An unknown name is fine."""
        if (spool := self.get(name)) is not None:
            spool.release()

    async def sweep(self) -> None:
        """Remove what a killed server left. Call it once, before the first `create`."""
        await asyncio.to_thread(empty_folder, self._folder)

    def _forget(self, spool: Spool) -> None:
        if self._spools.get(spool.path.name) is spool:
            del self._spools[spool.path.name]


def _undo(path: Path, descriptor: int) -> None:
    os.close(descriptor)
    path.unlink(missing_ok=True)


def _create(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
