"""Room on a disk for new work: what stays free for work that was accepted, and what is promised to others already."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamsrv.errors import DiskFull

# Of a small disk less stays free.
_RESERVED_SHARE = 0.02
_WORDS = "The server has no space left on its disk for this: what is free there has to stay so."


class Room:
    """The disk of `folder`. New work leaves `reserve_bytes` of it free, but a fiftieth of it at most."""

    def __init__(self, folder: Path, *, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._promised_bytes = 0

    @asynccontextmanager
    async def lent(self, count: int = 0) -> AsyncIterator[None]:
        """Promise so many bytes to the block. Raises DiskFull where they aren't there, before anything was done."""
        free = await asyncio.to_thread(self._free_bytes)
        if self._promised_bytes + count > free:
            raise DiskFull(_WORDS)
        self._promised_bytes += count
        try:
            yield
        finally:
            self._promised_bytes -= count

    async def check(self) -> None:
        """Raise DiskFull where nothing more should begin."""
        async with self.lent():
            pass

    def _free_bytes(self) -> int:
        disk = shutil.disk_usage(self._folder)
        return disk.free - min(self._reserve_bytes, int(disk.total * _RESERVED_SHARE))
