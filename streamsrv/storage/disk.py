"""What files need of the disk: to know whether it is full, early storing, and folders that are emptied."""

import ctypes
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h
# A file system refuses data a little before its count of free bytes is down at 0.
_FULL_BYTES = 1 << 20


def is_full(folder: Path) -> bool:
    """Is there next to no space on the disk of `folder`? For those whose files broke without an error."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < _FULL_BYTES


def begin_writeback(descriptor: int, offset: int, count: int) -> None:
    """Let the disk begin to store these bytes now; a later sync is the quicker for it. A hint: it can't fail."""
    if (sync_file_range := _sync_file_range()) is not None:
        sync_file_range(descriptor, offset, count, _SYNC_FILE_RANGE_WRITE)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux alone has it, and Python has no name for it. The call releases the interpreter's lock."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def empty_folder(folder: Path) -> None:
    """Leave `folder` there, private and empty. Blocks as long as the disk takes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove the file, or the folder with all in it. Missing is fine, so is another who removes the same."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=False, onerror=_missing_is_fine)
    else:
        path.unlink(missing_ok=True)


def _missing_is_fine(_function: object, _path: str, failure: tuple[object, BaseException, object]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
