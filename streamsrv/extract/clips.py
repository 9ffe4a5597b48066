"""Clips as chunks of samples, kept by content: each is decoded once, on the pool, however many ask for it."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from streamsrv.errors import DiskFull, InternalError, SourceChanged
from streamsrv.extract.decode import ClipTask, Ended, chunk_name, decode_clip
from streamsrv.extract.sources import SourceFile
from streamsrv.extract.timeline import Reach
from streamsrv.files import PART_SUFFIX, disk_errors, written_aside
from streamsrv.media.feed import FilePart
from streamsrv.storage.disk import remove_tree
from streamsrv.storage.shelf import Shelf
from streamsrv.tasks import first_error
from streamsrv.workers.pool import DevicePool

log = structlog.get_logger()

# How the chunks of a clip come about: another number, where the same clip would come out differently.
_METHOD = 3
_LOOK_SECONDS = 0.02
# So long a clip that nobody has is decoded on.
_LEAD_SECONDS = 60.0
_END = "end.json"


class Clips:
    """`async with` it: what is being decoded when the block ends is cancelled, and goes on when it is asked for."""

    def __init__(self, shelf: Shelf, pool: DevicePool) -> None:
        self._shelf = shelf
        self._pool = pool
        self._clips: dict[str, Clip] = {}
        self._tasks = asyncio.TaskGroup()

    @property
    def at_once(self) -> int:
        """How many are decoded at the same time."""
        return self._pool.size

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for clip in self._clips.values():
            clip.cancel()
        await self._tasks.__aexit__(None, None, None)

    @contextmanager
    def lend(self, task: ClipTask, source: SourceFile, sha256: str, priority: int) -> Iterator["Clip"]:
        """The clip that `task` describes, but for folder and stop, of a source with that SHA-256, for the block.

        Decoding begins, unless it was done before or goes on already. When nobody has it any more, what has begun goes
        on for a while, since the next one who asks is likely to want more of it; what hasn't begun is given up.
        """
        key = clip_key(task, sha256)
        clip = self._clips.get(key)
        if clip is None or clip.has_failed:
            clip = self._clips[key] = Clip(key, task, source, self._shelf, self._pool)
            clip.begin(self._tasks, priority).add_done_callback(partial(self._forget_unused, clip))
        clip.users += 1
        try:
            with self._shelf.hold(key):
                yield clip
        finally:
            clip.users -= 1
            if clip.users == 0:
                self._leave(clip)

    def _leave(self, clip: "Clip") -> None:
        if not clip.reach.samples:
            clip.cancel()
        elif not clip.is_over:
            clip.leavings += 1
            asyncio.get_running_loop().call_later(_LEAD_SECONDS, self._give_up_unused, clip, clip.leavings)
        self._forget_unused(clip)

    def _give_up_unused(self, clip: "Clip", leavings: int) -> None:
        if clip.users == 0 and clip.leavings == leavings:  # else somebody had it meanwhile
            clip.cancel()

    def _forget_unused(self, clip: "Clip", _: asyncio.Task[None] | None = None) -> None:
        if clip.users == 0 and clip.is_over and self._clips.get(clip.key) is clip:
            del self._clips[clip.key]


class Clip:
    """One clip on its way: `wait` for samples, then `read` where they are."""

    def __init__(self, key: str, task: ClipTask, source: SourceFile, shelf: Shelf, pool: DevicePool) -> None:
        self.key = key
        self.users = 0
        self.leavings = 0
        self._task = task
        self._source = source
        self._shelf = shelf
        self._pool = pool
        self._folder = task.folder
        self._chunks = 0
        self._end: Ended | None = None
        self._error: Exception | None = None
        self._running: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def reach(self) -> Reach:
        if self._end is not None:
            return Reach(self._end.samples, is_whole=True)
        return Reach(self._chunks * self._task.chunk_samples, is_whole=False)

    @property
    def lost_seconds(self) -> float:
        """So much of it is missing, as far as that is known: at its end."""
        return self._end.lost_seconds if self._end is not None else 0.0

    @property
    def has_failed(self) -> bool:
        return self._error is not None

    @property
    def is_over(self) -> bool:
        """It is all there, or has failed."""
        return self.has_failed or self._end is not None

    def begin(self, tasks: asyncio.TaskGroup, priority: int) -> asyncio.Task[None]:
        self._running = tasks.create_task(self._make(priority))
        return self._running

    def cancel(self) -> None:
        """Give it up. Who asks for it from now on begins anew."""
        if self._running is not None and not self.is_over:
            self._error = InternalError("Decoding was given up.")
            self._running.cancel()
            self._notify()

    async def wait(self, samples: int) -> Reach:
        """Wait until more than so many samples are there, or all; raises what went wrong with the clip before."""
        while not self.reach.is_whole and self.reach.samples <= samples:
            if self._error is not None:
                raise self._error
            await self._changed.wait()
        return self.reach

    def read(self, start: int, stop: int) -> Iterator[FilePart]:
        """Give where the samples from `start` up to, not including, `stop` are, which are there, in order."""
        frame, size = self._task.grid.frame_bytes, self._task.chunk_bytes
        at, end = start * frame, stop * frame
        while at < end:
            number, offset = divmod(at, size)
            count = min(end - at, size - offset)
            yield FilePart(self._folder / chunk_name(number), offset, count)
            at += count

    async def _make(self, priority: int) -> None:
        try:
            with self._shelf.hold(self.key) as self._folder:
                await self._find_or_decode(priority)
        except Exception as error:  # told to everyone who waits
            self._error = error
            log.info("clip_failed", key=self.key, reason=repr(self._error))
        finally:
            self._notify()

    async def _find_or_decode(self, priority: int) -> None:
        self._chunks, self._end = await asyncio.to_thread(_look, self._folder, self._task.chunk_bytes)
        if self._end is not None:
            return
        self._notify()
        async with self._source.held() as path:
            try:
                stop = self._folder / f"stop.{uuid.uuid4().hex}"
                task = replace(self._task, source=path, folder=self._folder, stop=stop)
                ended = await self._decode_with_room(task, priority)
            except SourceChanged:
                # Some of it may be of the other content.
                self._chunks = 0
                await asyncio.to_thread(remove_tree, self._folder)
                raise
            except DiskFull:
                await self._shelf.remove(self.key)  # in the way of all else; it goes once nobody reads it
                raise
            finally:
                await self._shelf.measure(self.key)
        self._end = ended

    async def _decode_with_room(self, task: ClipTask, priority: int) -> Ended:
        try:
            return await self._decode(task, priority)
        except DiskFull:
            if not await self._shelf.clear():  # what nobody reads can be made again
                raise
        return await self._decode(task, priority)

    async def _decode(self, task: ClipTask, priority: int) -> Ended:
        """Count the chunks as they come, and write the mark that says that these are all."""
        with disk_errors():
            await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                decoding = tasks.create_task(self._pool.run(priority, decode_clip, task))
                while not decoding.done():
                    await asyncio.wait([decoding], timeout=_LOOK_SECONDS)
                    await self._count()
        except BaseExceptionGroup as group:
            await self._count()  # what came before something went wrong is right
            raise first_error(group) from group
        except asyncio.CancelledError:
            with suppress(OSError):  # then it ends by itself
                task.stop.touch()  # the pool's process can't be told otherwise
            raise
        ended = decoding.result()
        with disk_errors():
            await asyncio.to_thread(_write_end, self._folder, ended)
        return ended

    async def _count(self) -> None:
        more = await asyncio.to_thread(_count_chunks, self._folder, self._chunks, self._task.chunk_bytes)
        if more:
            self._chunks += more
            await self._shelf.grow(self.key, more * self._task.chunk_bytes)
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _look(folder: Path, chunk_bytes: int) -> tuple[int, Ended | None]:
    """What is there of a clip: full chunks from the first on, and the end if all of it is."""
    chunks = _count_chunks(folder, 0, chunk_bytes)
    try:
        return chunks, Ended(**json.loads((folder / _END).read_bytes()))
    except FileNotFoundError:
        return chunks, None


def _count_chunks(folder: Path, first: int, chunk_bytes: int) -> int:
    count = 0
    while _size(folder / chunk_name(first + count)) == chunk_bytes:
        count += 1
    return count


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _write_end(folder: Path, ended: Ended) -> None:
    for left in folder.glob(f"*{PART_SUFFIX}"):  # by those that were killed
        left.unlink(missing_ok=True)
    with written_aside(folder / _END) as part:
        part.write_text(json.dumps(asdict(ended)))


def clip_key(task: ClipTask, sha256: str) -> str:
    """The name of a clip's chunks: the same content, track, grid and terms give the same ones, by the same ffmpeg."""
    grid, form = task.grid, ("tolerant" if task.terms.tolerates else "strict", task.film.raw)
    shape = (task.track.number, grid.sample_rate, grid.layout, grid.depth_bits, task.chunk_samples, task.tools.version)
    return f"{sha256}.{hashlib.sha256(repr((*shape, form, _METHOD)).encode()).hexdigest()[:16]}"
