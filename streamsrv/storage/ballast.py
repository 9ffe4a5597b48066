"""A file that is good for nothing but to be removed: on a full disk what makes room needs some to be recorded."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

_NAME = "ballast"
# A change to the database takes some pages of it.
_BYTES = 512 << 10
# Where less is free, it is of more use as free space.
_FREE_BYTES = 4 * _BYTES


class Ballast:
    """Lies in `folder`, on the disk that may become full. Both methods may be called at any time, and again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    async def keep(self) -> None:
        """See to it that it is there, if there is space for it."""
        await asyncio.to_thread(self._keep)

    async def drop(self) -> None:
        """Let its space be used by who needs it more."""
        await asyncio.to_thread(self._drop)

    def _keep(self) -> None:
        disk = os.statvfs(self._path.parent)
        if self._path.exists() or disk.f_bavail * disk.f_frsize < _FREE_BYTES:
            return
        try:
            # Some file systems need no space for zeros.
            self._path.write_bytes(os.urandom(_BYTES))
        except OSError:  # somebody else was sooner; it isn't worth a word
            self._drop()

    def _drop(self) -> None:
        with suppress(OSError):  # then there is no space to be had by it
            self._path.unlink(missing_ok=True)
