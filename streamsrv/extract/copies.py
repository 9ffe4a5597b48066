"""Files of other servers, copied here: each is downloaded once, however many want it, and kept while there is room."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog

from streamsrv.errors import DiskFull, InternalError
from streamsrv.extract.copy_folder import PART, Note, keep_current_only, make_folder, publish, read_note, write_note
from streamsrv.files import disk_errors
from streamsrv.outbound.download import Downloads, Progress
from streamsrv.outbound.urls import host_of
from streamsrv.storage.shelf import Shelf
from streamsrv.tasks import Places

log = structlog.stdlib.get_logger()

Result = TypeVar("Result")

# The shelf is told of a growing file so often.
_GROWTH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole file on this disk, and the SHA-256 of its content in hex."""

    path: Path
    size: int
    sha256: str


class _Fetch:
    """One look at the server, with the download that may follow, and those who wait for it."""

    def __init__(self) -> None:
        self.done: asyncio.Future[Note] = asyncio.get_running_loop().create_future()
        self.waiting = 0
        self.counted_bytes: int | None = None
        self._watchers: list[Progress] = []
        self._told: tuple[int, int | None] | None = None

    @contextmanager
    def watched_by(self, progress: Progress | None) -> Iterator[None]:
        self.waiting += 1
        watchers = [progress] if progress is not None else []
        self._watchers += watchers
        try:
            if self._told is not None and progress is not None:
                progress(*self._told)
            yield
        finally:
            self.waiting -= 1
            for watcher in watchers:
                self._watchers.remove(watcher)

    def tell(self, have_bytes: int, total_bytes: int | None) -> None:
        self._told = have_bytes, total_bytes
        for progress in list(self._watchers):
            progress(have_bytes, total_bytes)


class _Source:
    """One address, while anybody uses it: readers, a look at its server, or the removal of its old contents."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.uses = 0
        self.has_old = False
        self.lock = asyncio.Lock()  # of whoever changes the folder
        self.fetch: _Fetch | None = None
        self.task: asyncio.Task[Note | Exception] | None = None


class Copies:
    """`async with` it: what is being downloaded when the block ends is cancelled, and goes on when it is asked for.

    A copy is given without a question while its server said less than `fresh_seconds` ago that it is current.
    `at_once` files are downloaded at the same time, `per_host` of them from one host: whoever waits for a slow host
    takes no place of others. Progress callbacks are called on the event loop and don't raise.
    """

    def __init__(
        self,
        downloads: Downloads,
        shelf: Shelf,
        *,
        fresh_seconds: float,
        at_once: int,
        per_host: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._downloads = downloads
        self._shelf = shelf
        self._fresh_seconds = fresh_seconds
        self._places = asyncio.Semaphore(at_once)
        self._hosts = Places(per_host)
        self._clock = clock
        self._sources: dict[str, _Source] = {}
        self._tasks = asyncio.TaskGroup()
        self._closing = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for source in self._sources.values():
            if source.task is not None:
                source.task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def check(self, url: str) -> None:
        """Refuse at once what needs no look at the network for that. Raises RefusedAddress."""
        self._downloads.check(url)

    def current(self, url: str, progress: Progress | None = None) -> AbstractAsyncContextManager[Copy]:
        """The file as it is on its server now; for the block the copy stays.

        The download goes on as long as one of those who want it waits; later it goes on where it stopped.
        Entering raises RefusedAddress, FailedDownload, DiskFull.
        """
        return self._lend(url, progress, self._fresh_seconds)

    def kept(self, url: str, progress: Progress | None = None) -> AbstractAsyncContextManager[Copy]:
        """The copy that is here, however old; else the same as `current`."""
        return self._lend(url, progress, math.inf)

    @asynccontextmanager
    async def _lend(self, url: str, progress: Progress | None, max_age_seconds: float) -> AsyncIterator[Copy]:
        with self._use(url) as source, self._shelf.hold(source.name) as folder:
            note = await asyncio.to_thread(read_note, folder)
            if note is None or not self._is_younger(note, max_age_seconds):
                note = await self._wait_for(url, source, progress)
            yield Copy(folder / note.sha256, note.size, note.sha256)

    def _is_younger(self, note: Note, age_seconds: float) -> bool:
        return abs(self._clock() - note.checked_at) < age_seconds  # a note from the future has no age that counts

    @contextmanager
    def _use(self, url: str) -> Iterator[_Source]:
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = _Source(name)
        source.uses += 1
        try:
            yield source
        finally:
            self._release(source)

    def _release(self, source: _Source) -> None:
        source.uses -= 1
        if source.uses > 0:
            return
        if not source.has_old or self._closing:
            del self._sources[source.name]
            return
        source.uses, source.has_old = 1, False
        self._tasks.create_task(self._remove_old(source)).add_done_callback(lambda _: self._release(source))

    async def _remove_old(self, source: _Source) -> None:
        """Remove what isn't current any more.

        Nobody reads it: all had left when this began, and whoever comes meanwhile gets what is current.
        """
        with self._shelf.hold(source.name) as folder:
            async with source.lock:
                try:
                    await _run_to_its_end(keep_current_only, folder)
                except OSError as error:  # it is counted, and goes with the rest one day
                    log.warning("old_copies_stay", name=source.name, reason=repr(error))
            await self._shelf.measure(source.name)

    async def _wait_for(self, url: str, source: _Source, progress: Progress | None) -> Note:
        fetch = source.fetch or self._begin(url, source)
        task = source.task
        with fetch.watched_by(progress):
            try:
                return await asyncio.shield(fetch.done)
            finally:
                if fetch.waiting == 1 and not fetch.done.done() and task is not None:
                    task.cancel()
                    source.fetch = source.task = None  # whoever comes now begins another one, after this one's end

    def _begin(self, url: str, source: _Source) -> _Fetch:
        fetch = source.fetch = _Fetch()
        task = source.task = self._tasks.create_task(self._fetch(url, source, fetch))
        source.uses += 1
        task.add_done_callback(partial(self._end, source, fetch))
        return fetch

    def _end(self, source: _Source, fetch: _Fetch, task: asyncio.Task[Note | Exception]) -> None:
        if source.fetch is fetch:
            source.fetch = source.task = None
        outcome = InternalError("The server is stopping.") if task.cancelled() else task.result()
        if isinstance(outcome, Exception):
            fetch.done.set_exception(outcome)
            fetch.done.exception()  # there may be nobody left to be told
        else:
            fetch.done.set_result(outcome)
        self._release(source)

    async def _fetch(self, url: str, source: _Source, fetch: _Fetch) -> Note | Exception:
        """Give what all who wait are told; raised, it would end the tasks of all others."""
        try:
            # One that was cancelled may still put its part away.
            async with source.lock, self._hosts.place(host_of(url)):
                with self._shelf.hold(source.name) as folder:
                    return await self._renew(url, folder, source, fetch)
        except Exception as error:
            return error

    async def _renew(self, url: str, folder: Path, source: _Source, fetch: _Fetch) -> Note:
        known = await asyncio.to_thread(read_note, folder)
        if known is not None and self._is_younger(known, self._fresh_seconds):
            return known
        if known is not None and await self._downloads.is_current(url, known.etag, known.last_modified):
            note = replace(known, checked_at=self._clock())
            with suppress(DiskFull):  # then it will be asked again
                await _run_to_its_end(write_note, folder, note)
            return note
        async with self._places:
            try:
                return await self._download(url, folder, source, fetch)
            except DiskFull:
                if not await self._shelf.clear():
                    raise
            return await self._download(url, folder, source, fetch)

    async def _download(self, url: str, folder: Path, source: _Source, fetch: _Fetch) -> Note:
        try:
            await _run_to_its_end(make_folder, folder)
            got = await self._downloads.resume(url, folder / PART, partial(self._tell, source, fetch))
            note = Note(source.name, got.size, got.sha256, got.etag, got.last_modified, self._clock())
            source.has_old |= await _run_to_its_end(publish, folder, note)
            return note
        finally:
            await self._shelf.measure(source.name)

    def _tell(self, source: _Source, fetch: _Fetch, have_bytes: int, total_bytes: int | None) -> None:
        if fetch.counted_bytes is None:
            fetch.counted_bytes = have_bytes
        if (more := have_bytes - fetch.counted_bytes) >= _GROWTH_BYTES:
            fetch.counted_bytes = have_bytes
            self._tasks.create_task(self._shelf.grow(source.name, more))
        fetch.tell(have_bytes, total_bytes)


async def _run_to_its_end(work: Callable[..., Result], *values: object) -> Result:
    """Run it in a thread, and don't return before its end, even when cancelled. Raises DiskFull."""
    running = asyncio.get_running_loop().run_in_executor(None, partial(work, *values))
    with disk_errors():
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
