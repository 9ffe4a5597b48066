"""What was made, each file under the SHA-256 of its bytes, and which request it answers."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog

from streamsrv.errors import DiskFull
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.results import SECONDS_BETWEEN_NOTES, Result, ResultStore
from streamsrv.storage.storage import Storage

log = structlog.get_logger()

_FOLDER = "extracted"
_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 86400.0
_BATCH = 500
_NAME = re.compile(r"([0-9a-f]{64})(\.[a-z0-9]{2,4})")


class Archive:
    """Files and their results, about `max_bytes` of them. What nobody asked for in `days` goes; 0 days: it stays.

    `sure_clock` is the time by which that is counted, None while nobody is sure of it.
    """

    def __init__(
        self,
        storage: Storage,
        results: ResultStore,
        *,
        days: float,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        sure_clock: Callable[[], float | None] | None = None,
    ) -> None:
        self._storage = storage
        self._results = results
        self._days = days
        self._max_bytes = max_bytes
        self._clock = clock
        self._sure_clock = sure_clock or clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def lifetime(self) -> AsyncIterator[None]:
        """Remove what nobody wants any more, now and every hour."""
        async with asyncio.TaskGroup() as tasks:
            tidying = tasks.create_task(self._keep_tidy())
            yield
            tidying.cancel()

    async def find(self, key: str) -> Result | None:
        """The result under this key, if its file is still there; that counts as a use of it."""
        result = await self._results.find(key)
        if result is None:
            return None
        await self._use(result.file)
        return result if await self._storage.locate(result.file) is not None else None

    async def keep(
        self,
        path: Path,
        sha256: str,
        *,
        key: str,
        subject: str,
        request: Mapping[str, Any],
        facts: Mapping[str, Any],
        cursor: str | None = None,
    ) -> Result:
        """Take over the file, whose SHA-256 is given in hex, durably, and record what it answers. Raises DiskFull."""
        size = (await asyncio.to_thread(path.stat)).st_size
        file = f"{_FOLDER}/{sha256}{path.suffix}"
        now = self._clock()
        result = Result(
            key=key,
            kind=JobKind.EXTRACT,
            subject=subject,
            request=request,
            cursor=cursor,
            facts=facts,
            file=file,
            size=size,
            created_at=now,
            used_at=now,
        )
        async with self._changing(file):
            # The row first: a file without one would be taken for one that a lost database has left.
            await self._results.record(result)
            try:
                await self._storage.put(file, path)
            except BaseException:
                if await self._storage.locate(file) is None:
                    await self._results.forget(file, math.inf)
                raise
        log.info("extracted", file=file, bytes=size)
        return result

    async def locate(self, name: str) -> Path | None:
        """The file of that name, None where there is none; that counts as a use of it."""
        path = await self._locate(name)
        if path is not None:
            await self._use(f"{_FOLDER}/{name}")
        return path

    async def has(self, name: str) -> bool:
        """Is there a file of that name?"""
        return await self._locate(name) is not None

    async def _locate(self, name: str) -> Path | None:
        return await self._storage.locate(f"{_FOLDER}/{name}") if _NAME.fullmatch(name) else None

    async def _use(self, file: str) -> None:
        with suppress(DiskFull):  # a file can be had all the same
            await self._results.use(file, self._clock())

    def _changing(self, file: str) -> asyncio.Lock:
        """One changes a file at a time; others needn't wait until a large one is on the disk."""
        lock = self._locks.get(file)
        if lock is None:
            lock = self._locks[file] = asyncio.Lock()
        return lock

    async def _adopt(self) -> None:
        """Files that no result names go in their time like others: a database was lost, or a result made anew."""
        now = self._clock()
        for name in await self._storage.names(_FOLDER):
            file = f"{_FOLDER}/{name}"
            if _NAME.fullmatch(name) and not await self._results.is_known(file):
                await self._results.record(
                    Result(
                        key=file,
                        kind=JobKind.EXTRACT,
                        subject="local",
                        request={},
                        cursor=None,
                        facts={},
                        file=file,
                        size=await self._size(file),
                        created_at=now,
                        used_at=now,
                    )
                )

    async def tidy(self) -> None:
        """Remove what nobody has asked for in time, and then, longest unused first, what is more than there is room."""
        await self._adopt()
        now = self._clock()
        sure = self._sure_clock()
        if self._days and sure is not None:
            while files := await self._results.unused_files(sure - self._days * _DAY_SECONDS, _BATCH):
                await self._remove(files, sure - self._days * _DAY_SECONDS)
        excess = await self._results.total_bytes() - self._max_bytes
        # What was made or asked for just now stays, whatever its size. A use is noted once an hour at most.
        recent = now - _HOUR_SECONDS - SECONDS_BETWEEN_NOTES
        while excess > 0 and (files := await self._results.unused_files(recent, 1)):
            await self._remove(files, recent)
            excess -= sum(files.values())

    async def _size(self, file: str) -> int:
        path = await self._storage.locate(file)
        return 0 if path is None else (await asyncio.to_thread(path.stat)).st_size

    async def _keep_tidy(self) -> None:
        while True:
            try:
                await self.tidy()
            except Exception:  # nothing here is worth the server; tried again in an hour
                log.exception("results_not_tidied")
            await asyncio.sleep(_HOUR_SECONDS)

    async def _remove(self, files: Iterable[str], before: float) -> None:
        for file in files:
            async with self._changing(file):  # or the file of a result that is just being kept would go
                if await self._results.forget(file, before):
                    await self._storage.remove(file)
                    log.info("result_removed", file=file)


def file_name(file: str) -> str:
    """The last part of a storage key, by which a file is asked for."""
    return file.rpartition("/")[2]


def digest_in(name: str) -> str:
    """The SHA-256 that a file's name begins with."""
    return name.partition(".")[0]
