"""Files as everyone meets them: which bytes of one were asked for, how one is put in its place, and full disks."""

import ctypes
import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from streamsrv.errors import DiskFull, InternalError, RangeNotSatisfiable

_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h
# What has this name wasn't written to its end.
PART_SUFFIX = ".part"
# A file system refuses data a little before its count of free bytes is down at 0.
_FULL_BYTES = 1 << 20

# Python refuses to read numbers of more than 4300 digits, which fit into a header; nobody means one of more than 100.
_BYTE_RANGE = re.compile(r"bytes=[ \t]*(\d{0,100})-(\d{0,100})[ \t]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, not including, `stop`; never empty."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str, size: int) -> ByteRange | None:
    """Read one Range header for a file of `size` bytes; None where the header must be ignored.

    Another unit, a malformed value and a set of several ranges are ignored, as RFC 9110 section 14.2 lets a server do.
    Raises RangeNotSatisfiable where the range is well formed and lies beyond the file.
    """
    match = _BYTE_RANGE.fullmatch(header)
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        if size == 0 and int(last) > 0:
            return None  # satisfiable (14.1.2), but Content-Range can't say "none of none"
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return ByteRange(start, stop)


def means_full_disk(error: BaseException) -> bool:
    """Does the operating system say, in either of its two ways, that there is no space?"""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise DiskFull for what means that there is no space."""
    try:
        yield
    except OSError as error:
        if means_full_disk(error):
            raise DiskFull from error
        raise


def is_full(folder: Path) -> bool:
    """Is there next to no space on the disk of `folder`?"""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < _FULL_BYTES


@contextmanager
def full_disk_told_apart(folder: Path) -> Iterator[None]:
    """Raise DiskFull where a file of `folder` turns out to be broken or missing, and there is no space left for it.

    Not every muxer says so: some leave half a file, and end well.
    """
    try:
        yield
    except (InternalError, FileNotFoundError) as error:
        if is_full(folder):
            raise DiskFull from error
        raise


def begin_writeback(descriptor: int, offset: int, count: int) -> None:
    """Let the disk begin to store these bytes now; a later sync is the quicker for it. A hint: it can't fail."""
    if (sync_file_range := _sync_file_range()) is not None:
        sync_file_range(descriptor, offset, count, _SYNC_FILE_RANGE_WRITE)


def begin_writeback_of(path: Path, done_bytes: int) -> int:
    """The same for what was added to a file behind `done_bytes`; give how far it is now. A file that isn't there has 0.

    Blocks for an instant.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin_writeback(file.fileno(), done_bytes, size - done_bytes)
            return size
    except FileNotFoundError:
        return done_bytes  # not begun


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux alone has it, and Python has no name for it. The call releases the interpreter's lock."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def put_in_place(files: Sequence[tuple[Path, Path]]) -> None:
    """Rename each (source, target), on one disk, making folders as needed. Blocks until that lasts.

    Whoever looks finds each target whole or not at all, after a power cut, too: what has a name was synced before it
    got it, and the name itself is synced before this returns. Raises OSError.
    """
    changed: set[Path] = set()
    for source, target in files:
        _sync(source)
        changed.update(_make_folders(target.parent))
        source.replace(target)
    for folder in changed:
        _sync(folder)


def write_in_place(path: Path, data: bytes) -> None:
    """Put a private file of these few bytes in its place, as `put_in_place` does."""
    with _beside(path) as part:
        with open(part, "wb", opener=_open_private) as file:
            file.write(data)
        put_in_place([(part, path)])


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Lend a name to write a file at, which gets the name `path` at the end of the block, whole or not at all.

    Nothing is synced: this is for what one run of the kernel can make again.
    """
    with _beside(path) as part:
        yield part
        part.replace(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name that no other process writes to; what still has it at the end of the block goes."""
    part = path.with_name(f"{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make_folders(folder: Path) -> list[Path]:
    """Make sure of the folder; give all folders whose entries must be synced for a new file in it to last."""
    changed = [folder]
    while not changed[-1].exists():
        changed.append(changed[-1].parent)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return changed


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
