"""A disk that is full."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAGE_BYTES = 4096
# What everybody is told then.
NO_SPACE = "no space left on its disk"


@contextmanager
def filled(disk: Path, *, but: int = 0) -> Iterator[None]:
    """Within the block not a byte more fits on the disk, or so many whole pages."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(PAGE_BYTES)):
            pass
    os.truncate(filler, filler.stat().st_size - but)
    assert os.statvfs(disk).f_bavail == but // PAGE_BYTES
    try:
        yield
    finally:
        filler.unlink()
