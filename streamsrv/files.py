"""Files as everyone meets them: which bytes of one were asked for, and the one error that is expected of their disk."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from streamsrv.errors import DiskFull, RangeNotSatisfiable

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
