"""Folders that are counted, emptied and removed, whoever else is at them."""

import errno
import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

# How long a folder is emptied into which somebody still writes.
_WRITER_SECONDS = 5.0
_RETRY_SECONDS = 0.01


def empty_folder(folder: Path) -> None:
    """Leave `folder` there, private and empty. Blocks as long as the disk takes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove the file, or the folder with all in it. Missing is fine, so is another who removes the same.

    One who still adds files is outlasted, within a bound: a child that was just killed, say, or a thread.
    """
    give_up_at = time.monotonic() + _WRITER_SECONDS
    while True:
        try:
            _remove(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or time.monotonic() > give_up_at:
                raise
        else:
            return
        time.sleep(_RETRY_SECONDS)


def tree_bytes(path: Path) -> int | None:
    """Count the bytes of the file, or of all files in the folder; None where there is neither.

    What comes or goes meanwhile is counted or not.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    count = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                count += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a Path costs as much again
    return count


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=False, onerror=_missing_is_fine)
    else:
        path.unlink(missing_ok=True)


def _missing_is_fine(_function: object, _path: str, failure: tuple[object, BaseException, object]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
