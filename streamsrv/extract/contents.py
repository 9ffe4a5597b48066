"""What files hold, looked into once: which tracks, and which content. Remembered while the server runs."""

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from streamsrv.errors import SourceChanged
from streamsrv.extract.cursor import Content
from streamsrv.extract.identity import Identity
from streamsrv.extract.shared import SharedWork
from streamsrv.extract.sources import SourceFile
from streamsrv.media.film import Film, probe_film
from streamsrv.media.tools import FfmpegTools

T = TypeVar("T")

_KEPT = 10_000
# Reading through takes a thread for as long as a disk needs for gigabytes; uploads need theirs.
_READ_AT_ONCE = 2


class Contents:
    """Ask it as often as you like. Files are known again by their identity, not by their names."""

    def __init__(self, tools: FfmpegTools, work: SharedWork) -> None:
        self._tools = tools
        self._work = work
        self._films: OrderedDict[Identity, Film] = OrderedDict()
        self._contents: OrderedDict[Identity, Content] = OrderedDict()
        self._readers = asyncio.Semaphore(_READ_AT_ONCE)

    async def film(self, source: SourceFile) -> Film:
        """The tracks of the file. Raises UnusableFile where it is nothing that ffmpeg reads."""
        return await self._once(self._films, source.identity, "film", lambda: probe_film(self._tools, source.path))

    async def content(self, source: SourceFile) -> Content:
        """Size and SHA-256. Raises SourceChanged where the file isn't the one any more that was opened."""
        if source.sha256 is not None:
            return Content(source.identity.size, bytes.fromhex(source.sha256))
        return await self._once(self._contents, source.identity, "content", lambda: self._read_through(source))

    async def _read_through(self, source: SourceFile) -> Content:
        async with self._readers:
            digest = await asyncio.to_thread(_hash, source.path, source.identity)
        return Content(source.identity.size, digest)

    async def _once(
        self, kept: OrderedDict[Identity, T], key: Identity, what: str, find: Callable[[], Awaitable[T]]
    ) -> T:
        if key not in kept:
            kept[key] = await self._work.run((what, key), find)
            if len(kept) > _KEPT:
                kept.popitem(last=False)
        else:
            kept.move_to_end(key)
        return kept[key]


def _hash(path: Path, identity: Identity) -> bytes:
    with path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        if Identity.of(os.fstat(file.fileno())) != identity:
            raise SourceChanged("The file changed while it was read.")
    return digest
