"""Clips as chunks of samples, kept by content: each is decoded once, on the pool, however many ask for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from streamsrv.errors import InternalError
from streamsrv.extract.decode import ClipTask, chunk_name, decode_clip
from streamsrv.extract.timeline import Reach
from streamsrv.files import disk_errors
from streamsrv.storage.storage import Storage
from streamsrv.workers.pool import DevicePool

log = structlog.get_logger()

_FOLDER = "extract/clips"
# How the chunks of a clip come about: another number, where the same clip would come out differently.
_METHOD = 1
_LOOK_SECONDS = 0.02
_END = "end.json"


@dataclass(frozen=True, slots=True)
class Ended:
    """A clip that was decoded to its end."""

    samples: int


class Clips:
    """`async with` it: what is being decoded when the block ends is cancelled, and begins anew when it is asked for."""

    def __init__(self, storage: Storage, pool: DevicePool) -> None:
        self._storage = storage
        self._pool = pool
        self._clips: dict[str, Clip] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for clip in self._clips.values():
            clip.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def clip(self, task: ClipTask, sha256: str) -> "Clip":
        """The clip that `task` describes, whose folder doesn't matter, of a source with that SHA-256.

        Decoding begins, unless it was done before or goes on already.
        """
        key = clip_key(task, sha256)
        clip = self._clips.get(key)
        if clip is None or clip.has_failed:
            clip = self._clips[key] = Clip(key, task, self._storage, self._pool)
            clip.begin(self._tasks)
        return clip


class Clip:
    """One clip on its way: `wait` for samples, then `read` them."""

    def __init__(self, key: str, task: ClipTask, storage: Storage, pool: DevicePool) -> None:
        self._key = key
        self._task = task
        self._storage = storage
        self._pool = pool
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
    def has_failed(self) -> bool:
        return self._error is not None

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        self._running = tasks.create_task(self._make())

    def cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def wait(self, samples: int) -> Reach:
        """Wait until more than so many samples are there, or all; raises what went wrong with the clip."""
        while self._error is None and not self.reach.is_whole and self.reach.samples <= samples:
            await self._changed.wait()
        if self._error is not None:
            raise self._error
        return self.reach

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Give the samples from `start` up to, not including, `stop`, which are there, as raw bytes in order."""
        size, frame = self._task.chunk_samples, self._task.frame_bytes
        for number in range(start // size, -(-stop // size)):
            data = await self._storage.read(f"{self._key}/{chunk_name(number)}")
            if data is None:
                raise InternalError("A part of the clip is gone.")
            first, last = max(start - number * size, 0), min(stop - number * size, size)
            yield data[first * frame : last * frame]

    async def _make(self) -> None:
        try:
            end = await self._storage.read(f"{self._key}/{_END}")
            if end is not None:
                self._end = Ended(json.loads(end)["samples"])
            else:
                await self._decode()
        except asyncio.CancelledError:
            self._error = InternalError("The server is stopping.")
            raise
        except Exception as error:  # told to everyone who waits
            self._error = _first(error)
            log.info("clip_failed", key=self._key, reason=repr(self._error))
        finally:
            self._notify()

    async def _decode(self) -> None:
        async with self._storage.scratch("clip") as folder:
            task = replace(self._task, folder=folder)
            async with asyncio.TaskGroup() as tasks:
                decoding = tasks.create_task(self._run(task))
                while not decoding.done():
                    await asyncio.wait([decoding], timeout=_LOOK_SECONDS)
                    await self._keep_chunks(folder)
            await self._keep_end(folder, decoding.result())

    async def _run(self, task: ClipTask) -> int:
        with disk_errors():
            return await self._pool.run(0, decode_clip, task)

    async def _keep_chunks(self, folder: Path) -> None:
        """Take over the full chunks that came since the last time."""
        full_bytes = self._task.chunk_samples * self._task.frame_bytes
        names = await asyncio.to_thread(_full_chunks, folder, self._chunks, full_bytes)
        if names:
            await self._storage.put_all([(f"{self._key}/{name}", folder / name) for name in names])
            self._chunks += len(names)
            self._notify()

    async def _keep_end(self, folder: Path, samples: int) -> None:
        """Take over what is left, a chunk that isn't full, and then the mark that says that this was all."""
        last, mark = folder / chunk_name(self._chunks), folder / _END
        files = [(f"{self._key}/{last.name}", last)] if samples > self._chunks * self._task.chunk_samples else []
        with disk_errors():
            await asyncio.to_thread(mark.write_text, json.dumps({"samples": samples}))
        await self._storage.put_all([*files, (f"{self._key}/{_END}", mark)])
        self._end = Ended(samples)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _full_chunks(folder: Path, first: int, full_bytes: int) -> list[str]:
    names: list[str] = []
    while (path := folder / chunk_name(first + len(names))).exists() and path.stat().st_size == full_bytes:
        names.append(path.name)
    return names


def _first(error: BaseException) -> Exception:
    """The one thing that went wrong in a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else InternalError(repr(error))


def clip_key(task: ClipTask, sha256: str) -> str:
    """Where the chunks of a clip are: the same content, track and grid give the same chunks."""
    pcm = task.pcm
    words = (sha256, f"t{task.track}", f"{pcm.sample_rate}", pcm.layout, f"{pcm.depth_bits}", f"{task.chunk_samples}")
    return f"{_FOLDER}/{'.'.join(words)}.v{_METHOD}".replace("(", "-").replace(")", "")
