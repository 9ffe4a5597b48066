"""Room on a disk for new work."""

import shutil
from pathlib import Path

import pytest

from streamsrv.errors import DiskFull
from streamsrv.storage.room import Room


async def test_what_is_promised_counts(tmp_path: Path) -> None:
    """Two works that would fit alone don't fit together; when one is over the other one does."""
    room = Room(tmp_path, reserve_bytes=0)
    most = int(0.6 * shutil.disk_usage(tmp_path).free)
    async with room.lent(most):
        with pytest.raises(DiskFull, match="no space left"):
            async with room.lent(most):
                pass
        await room.check()
    async with room.lent(most):
        pass


async def test_what_is_reserved_stays_free(tmp_path: Path) -> None:
    """All that is free is not for new work; of a small disk a fiftieth stays at most."""
    disk = shutil.disk_usage(tmp_path)
    room = Room(tmp_path, reserve_bytes=disk.total)
    with pytest.raises(DiskFull):
        async with room.lent(disk.free - disk.total // 200):
            pass
    await room.check()
