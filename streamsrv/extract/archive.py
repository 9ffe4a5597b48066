"""What was made, each file under the SHA-256 of its bytes, and which request it answers."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from streamsrv.errors import DiskFull, Problem
from streamsrv.jobs.job import JobKind
from streamsrv.jobs.results import Result, ResultStore
from streamsrv.storage.storage import Storage

log = structlog.get_logger()

_FOLDER = "extracted"
_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 86400.0
_BATCH = 500
_NAME = re.compile(r"([0-9a-f]{64})(\.[a-z0-9]{2,4})")


class Archive:
    """Files and their results. A file that nobody asked for in `days` goes; 0 days: it stays."""

    def __init__(
        self, storage: Storage, results: ResultStore, *, days: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._storage = storage
        self._results = results
        self._days = days
        self._clock = clock

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
        *,
        key: str,
        subject: str,
        request: Mapping[str, Any],
        facts: Mapping[str, Any],
        cursor: str | None = None,
    ) -> Result:
        """Take the file over, durably, and record what it answers. Raises DiskFull."""
        sha256, size = await asyncio.to_thread(_digest, path)
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
        # The row first: a file without one would be taken for one that a lost database has left.
        await self._results.record(result)
        await self._storage.put(file, path)
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

    async def _adopt(self) -> None:
        """Files that no result names go in their time like others: a database was lost, or a result made anew."""
        now = self._clock()
        for name in await self._storage.names(_FOLDER):
            file = f"{_FOLDER}/{name}"
            if not await self._results.is_known(file):
                await self._results.record(
                    Result(
                        key=file,
                        kind=JobKind.EXTRACT,
                        subject="local",
                        request={},
                        cursor=None,
                        facts={},
                        file=file,
                        size=0,
                        created_at=now,
                        used_at=now,
                    )
                )

    async def tidy(self) -> None:
        """Remove what nobody has asked for in time."""
        await self._adopt()
        if self._days:
            await self._remove_unused(self._clock() - self._days * _DAY_SECONDS)

    async def _keep_tidy(self) -> None:
        while True:
            try:
                await self.tidy()
            except Problem as problem:
                log.warning("results_not_tidied", reason=problem.detail)  # tried again in an hour
            await asyncio.sleep(_HOUR_SECONDS)

    async def _remove_unused(self, before: float) -> None:
        while files := await self._results.files_of_unused(before, _BATCH):
            for file in files:
                await self._results.forget(file)
                await self._storage.remove(file)
            log.info("results_removed", count=len(files))


def file_name(file: str) -> str:
    """The last part of a storage key, by which a file is asked for."""
    return file.rpartition("/")[2]


def digest_in(name: str) -> str:
    """The SHA-256 that a file's name begins with."""
    return name.partition(".")[0]


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
