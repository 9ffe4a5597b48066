"""A file while it is downloaded: it grows, begins anew, and in the end is whole, kept for later, or gone."""

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path

from streamsrv.errors import DiskFull
from streamsrv.files import disk_errors, write_in_place
from streamsrv.outbound.replies import Version

# A thread costs little for a large write and much for a small one.
WRITE_BYTES = 1 << 20


class Part:
    """The first `size` bytes of the file `version` of `source`, for one task. Get one by `new_part` or `kept_part`.

    All that may wait for the disk runs in threads, one at a time, and ends even where its caller was cancelled.
    A full disk raises DiskFull.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.size = 0
        self.version = Version()
        self._path = path
        self._note = path.with_name(path.name + ".note")
        self._source = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._disk = threading.Lock()
        self._closed = False
        self._file: FileIO | None = None
        self._sha256 = hashlib.sha256()

    async def create(self) -> None:
        """Begin. Raises FileExistsError."""
        await self._in_thread(self._create)

    async def reopen(self) -> None:
        """Go on where `keep` stopped; begin at 0 where it wasn't called, or for another source."""
        await self._in_thread(self._reopen)

    async def append(self, data: bytes) -> None:
        """Add `data` at the end."""
        self.size += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= WRITE_BYTES:
            await self._in_thread(self._write)

    async def restart(self) -> None:
        """Throw away what is there."""
        self.size = 0
        self.version = Version()
        self._pending = []
        await self._in_thread(self._truncate)

    async def finish(self) -> str:
        """Leave the whole file to the caller and give its SHA-256, in hex. The file isn't synced."""
        await self._in_thread(self._finish)
        return self._sha256.hexdigest()

    async def keep(self) -> None:
        """Leave the file so that `reopen` can go on; remove it where that can't be. After `finish` nothing."""
        await self._in_thread(self._keep)

    async def discard(self) -> None:
        """Remove the file. After `finish` nothing."""
        await self._in_thread(self._discard)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        with disk_errors():
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._work, work))

    # What follows runs in threads.

    def _work(self, work: Callable[[], None]) -> None:
        with self._disk:
            if not self._closed:
                work()

    def _create(self) -> None:
        self._file = FileIO(self._path, "xb", opener=_open_private)

    def _reopen(self) -> None:
        self._file = FileIO(self._path, "ab+", opener=_open_private)
        size, version = self._read_note()
        if os.fstat(self._file.fileno()).st_size < size:
            size, version = 0, Version()
        self._file.truncate(size)
        self._file.seek(0)
        while piece := self._file.read(WRITE_BYTES):
            self._sha256.update(piece)
        self.size, self.version = size, version

    def _read_note(self) -> tuple[int, Version]:
        try:
            note = json.loads(self._note.read_bytes())
        except (FileNotFoundError, ValueError):
            return 0, Version()
        if note["source"] != self._source:
            return 0, Version()
        return note["size"], Version(note["tag"], note["total_bytes"])

    def _write(self) -> None:
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[self._opened().write(view) :]
            self._sha256.update(piece)

    def _truncate(self) -> None:
        self._note.unlink(missing_ok=True)
        self._opened().seek(0)
        self._opened().truncate()
        self._sha256 = hashlib.sha256()

    def _finish(self) -> None:
        self._write()
        self._note.unlink(missing_ok=True)
        self._close()

    def _keep(self) -> None:
        if self._file is None or self.version.tag is None or self.size == 0:
            self._discard()
            return
        try:
            self._write()
            os.fsync(self._file.fileno())
            self._write_note(os.fstat(self._file.fileno()).st_size)
        except OSError:
            self._discard()  # what is kept without a note is never gone on with
        else:
            self._close()

    def _write_note(self, size: int) -> None:
        note = {"source": self._source, "size": size, "tag": self.version.tag, "total_bytes": self.version.total_bytes}
        write_in_place(self._note, json.dumps(note).encode())

    def _discard(self) -> None:
        if self._file is not None:  # else it is somebody else's
            self._note.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        self._closed = True
        if self._file is not None:
            self._file.close()

    def _opened(self) -> FileIO:
        if self._file is None:
            raise RuntimeError("a part is created or reopened before it is written")
        return self._file


@asynccontextmanager
async def new_part(path: Path, source: str) -> AsyncIterator[Part]:
    """Begin a new file, which is gone on leaving unless it was finished. Raises FileExistsError, DiskFull."""
    part = Part(path, source)
    try:
        await part.create()
        yield part
    finally:
        await part.discard()


@asynccontextmanager
async def kept_part(path: Path, source: str) -> AsyncIterator[Part]:
    """Go on with the file that an earlier `kept_part` of this source left here, and leave it to the next one.

    Beside it, until it is finished, lies a note on what it is. Raises DiskFull, and then frees what it took.
    """
    part = Part(path, source)
    try:
        await part.reopen()
        yield part
    except DiskFull:
        await part.discard()
        raise
    finally:
        await part.keep()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
