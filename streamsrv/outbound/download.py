"""A file of another server, brought to disk: whole, within limits, in as many pieces as its connection breaks into."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import stamina
import structlog
from aiohttp import hdrs

from streamsrv.errors import FailedDownload
from streamsrv.outbound.guard import Broken, Guard
from streamsrv.outbound.part import Part, kept_part, new_part
from streamsrv.outbound.patience import Patience
from streamsrv.outbound.replies import Offer, WrongPart, condition_headers, read_currency, read_offer
from streamsrv.outbound.urls import redact

# Called on the event loop with the bytes that are there and those there will be, None where the server doesn't say.
# The first number falls back to 0 where a download has to begin anew.
Progress = Callable[[int, int | None], None]

log = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """`attempts` is how often in a row too little may come; between them lie `wait_seconds`, longer each time.

    Too little is less than one second of `min_bytes_per_second`, below which a server may be for `grace_seconds`.
    """

    max_bytes: int
    max_seconds: float
    min_bytes_per_second: int = 0
    grace_seconds: float = 10.0
    attempts: int = 5
    wait_seconds: float = 0.5
    max_wait_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A whole file: its SHA-256 in hex, where it was found in the end (redacted), and what the server calls it."""

    size: int
    sha256: str
    url: str
    etag: str | None
    last_modified: str | None


class Downloads:
    """Brings files to disk. Any number may run at the same time; memory is 2 MiB for each, however large the file.

    Each raises RefusedAddress; FailedDownload for a file that can't be had, is too large or takes too long; DiskFull.
    """

    def __init__(self, guard: Guard, limits: DownloadLimits) -> None:
        self._guard = guard
        self._limits = limits

    def check(self, url: str) -> None:
        """Refuse at once what needs no look at the network for that. Raises RefusedAddress."""
        self._guard.check(url)

    async def fetch(self, url: str, path: Path, progress: Progress | None = None) -> Downloaded:
        """Download into the new file `path`. However it ends otherwise, nothing is left there.

        Besides, it raises FileExistsError.
        """
        async with new_part(path, url) as part:
            return await self._run(url, part, progress)

    async def resume(self, url: str, path: Path, progress: Progress | None = None) -> Downloaded:
        """The same, but go on with what an earlier `resume` left at `path`, and leave there what came so far.

        One at a time uses a path. A part is left only where the server names its version; `path` and `path`.note
        belong to it, and may be removed.
        """
        async with kept_part(path, url) as part:
            return await self._run(url, part, progress)

    async def is_current(self, url: str, etag: str | None, last_modified: str | None) -> bool:
        """Ask whether the file is still the version that once came with these validators; without any it isn't.

        Raises RefusedAddress and FailedDownload, as a download would.
        """
        condition = condition_headers(etag, last_modified)
        if not condition:
            return False
        async with self._in_words(url):
            return await self._ask(url, condition)

    async def _ask(self, url: str, condition: dict[str, str]) -> bool:
        tries = count(1)
        async for attempt in _tries(lambda error: _judge(error, next(tries), self._limits), self._limits):
            with attempt:
                async with self._guard.get(url, condition) as reply:
                    return read_currency(reply.status, reply.headers)
        raise AssertionError("the last try returns or raises")

    async def _run(self, url: str, part: Part, progress: Progress | None) -> Downloaded:
        run = _Run(self._guard, self._limits, url, part, progress or _ignore)
        async with self._in_words(url):
            downloaded = await run.try_until_whole()
            log.info("download_finished", bytes=downloaded.size, tries=run.tries)
            return downloaded

    @asynccontextmanager
    async def _in_words(self, url: str) -> AsyncIterator[None]:
        """Keep the time for the whole, and say what went wrong in the end."""
        with structlog.contextvars.bound_contextvars(source=redact(url)):
            try:
                async with asyncio.timeout(self._limits.max_seconds):
                    yield
            except TimeoutError as error:
                sentence = f"The download takes longer than {self._limits.max_seconds:g} seconds."
                raise FailedDownload(sentence) from error
            except Broken as error:
                raise error.problem from error


class _Run:
    """One download, through all its tries."""

    def __init__(self, guard: Guard, limits: DownloadLimits, url: str, part: Part, progress: Progress) -> None:
        self._guard = guard
        self._limits = limits
        self._url = url
        self._part = part
        self._progress = progress
        self._patience = Patience(limits.min_bytes_per_second, limits.grace_seconds)
        self._most_bytes = part.size
        self._barren_tries = 0
        self.tries = 0

    async def try_until_whole(self) -> Downloaded:
        """Raises Broken when it was tried in vain too often."""
        async for attempt in _tries(self._judge_failure, self._limits):
            with attempt:
                return await self._try()
        raise AssertionError("the last try returns or raises")

    def _judge_failure(self, error: Exception) -> bool | float:
        enough_bytes = self._most_bytes + max(1, self._limits.min_bytes_per_second)
        self._barren_tries = self._barren_tries + 1 if self._part.size < enough_bytes else 0
        self._most_bytes = max(self._most_bytes, self._part.size)
        return _judge(error, self._barren_tries, self._limits)

    async def _try(self) -> Downloaded:
        """Download what is missing. Raises Broken; what came before that stays in the part."""
        self.tries += 1
        part = self._part
        try:
            async with self._guard.get(self._url, part.version.range_headers(part.size)) as reply:
                offer = read_offer(reply.status, reply.headers, part.version, part.size)
                await self._prepare(offer)
                while data := await self._patience.read(reply.content):
                    await self._append(data)
        except WrongPart:
            await part.restart()
            raise
        if part.version.total_bytes not in {None, part.size}:
            raise Broken(FailedDownload("The file ended before its end."))
        return Downloaded(
            size=part.size,
            sha256=await part.finish(),
            url=redact(reply.url),
            etag=reply.headers.get(hdrs.ETAG),
            last_modified=reply.headers.get(hdrs.LAST_MODIFIED),
        )

    async def _prepare(self, offer: Offer) -> None:
        if (offer.version.total_bytes or 0) > self._limits.max_bytes:
            raise self._too_large()
        if offer.start != self._part.size:
            await self._part.restart()
        self._part.version = offer.version
        self._progress(self._part.size, offer.version.total_bytes)

    async def _append(self, data: bytes) -> None:
        if self._part.size + len(data) > self._limits.max_bytes:
            raise self._too_large()
        await self._part.append(data)
        self._progress(self._part.size, self._part.version.total_bytes)

    def _too_large(self) -> FailedDownload:
        return FailedDownload(f"The file has more than {self._limits.max_bytes} bytes.")


def _tries(judge: Callable[[Exception], bool | float], limits: DownloadLimits) -> AsyncIterator[stamina.Attempt]:
    """Try as long as `judge` says so, and wait longer each time."""
    tries: AsyncIterator[stamina.Attempt] = stamina.retry_context(
        on=judge,
        attempts=None,
        timeout=None,
        wait_initial=limits.wait_seconds,
        wait_jitter=limits.wait_seconds,
        wait_max=limits.max_wait_seconds,
    )
    return tries


def _judge(error: Exception, barren_tries: int, limits: DownloadLimits) -> bool | float:
    """Is it worth another try, and after how many seconds if the server says so?"""
    if not isinstance(error, Broken) or barren_tries >= limits.attempts:
        return False
    return True if error.retry_after is None else min(error.retry_after, limits.max_wait_seconds)


def _ignore(_received_bytes: int, _total_bytes: int | None) -> None:
    """Nobody asked for the progress."""
