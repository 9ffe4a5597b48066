"""What files hold, looked into once: which tracks, and which content. Remembered while the server runs."""

import asyncio
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from streamsrv.errors import SourceChanged
from streamsrv.extract.cursor import Content
from streamsrv.extract.identity import Identity
from streamsrv.extract.sources import SourceFile, readable
from streamsrv.media.film import Film, probe_film
from streamsrv.media.raw import RawKind, raw_kind
from streamsrv.media.tools import FfmpegTools
from streamsrv.tasks import SharedWork

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_KEPT = 10_000
# Reading through takes a thread for as long as a disk needs for gigabytes; uploads need theirs.
_READ_AT_ONCE = 2
_BLOCK_BYTES = 1 << 20
_PROBED_AT_ONCE = 8


class Contents:
    """Ask it as often as you like. Files are known again by their identity, not by their names.

    What can't be read is UnusableFile.
    """

    def __init__(self, tools: FfmpegTools, work: SharedWork) -> None:
        self._tools = tools
        self._work = work
        self._films: OrderedDict[tuple[Identity, RawKind | None], Film] = OrderedDict()
        self._contents: OrderedDict[Identity, Content] = OrderedDict()
        self._probes = asyncio.Semaphore(_PROBED_AT_ONCE)
        self._readers = asyncio.Semaphore(_READ_AT_ONCE)

    async def film(self, source: SourceFile) -> Film:
        """The tracks of the file. Raises UnusableFile where it is nothing that ffmpeg reads."""
        return await self._once(
            self._films, (source.identity, raw_kind(source.name)), "film", lambda: self._probe(source)
        )

    async def content(self, source: SourceFile) -> Content:
        """Size and SHA-256. Raises SourceChanged where the file isn't the one any more that was opened."""
        if source.sha256 is not None:
            return Content(source.identity.size, bytes.fromhex(source.sha256))
        return await self._once(self._contents, source.identity, "content", lambda: self._read_through(source))

    async def _probe(self, source: SourceFile) -> Film:
        async with self._probes:
            with readable():
                await asyncio.to_thread(lambda: source.path.open("rb").close())
            return await probe_film(self._tools, source.path, name=source.name)

    async def _read_through(self, source: SourceFile) -> Content:
        unwanted = threading.Event()
        async with self._readers:
            reading = asyncio.get_running_loop().run_in_executor(None, _hash, source, unwanted)
            try:
                with readable():
                    return Content(source.identity.size, await asyncio.shield(reading))
            except asyncio.CancelledError:
                unwanted.set()
                await asyncio.wait([reading])  # its place is free when its thread is
                reading.exception()  # seen, and less important than the cancellation
                raise

    async def _once(self, kept: OrderedDict[K, T], key: K, what: str, find: Callable[[], Awaitable[T]]) -> T:
        if key not in kept:
            kept[key] = await self._work.run((what, key), find)
            if len(kept) > _KEPT:
                kept.popitem(last=False)
        else:
            kept.move_to_end(key)
        return kept[key]


def _hash(source: SourceFile, unwanted: threading.Event) -> bytes:
    digest = hashlib.sha256()
    with source.path.open("rb", buffering=0) as file:
        while not unwanted.is_set() and (block := file.read(_BLOCK_BYTES)):
            digest.update(block)
        if Identity.of(os.fstat(file.fileno())) != source.identity:
            raise SourceChanged("The file changed while it was read.")
    return digest.digest()
