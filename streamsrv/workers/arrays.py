"""Arrays of samples that the server and its children see at once, without a copy and without a name.

The memory is a file that has no name (memfd_create), so nothing of it can be left behind: it goes with the last
process that holds it, however that one ends. A child finds it by the server's descriptor under /proc.

A mapping lasts as long as an array that shows it, a view or a slice too. Nobody unmaps it by hand: arrays don't stop
anybody who does, and to touch one afterwards would end the process.
"""

import fcntl
import math
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamsrv.errors import InternalError

Samples: TypeAlias = NDArray[np.float32]

# Who has it mapped can count on its size.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class ArrayGone(InternalError):
    """The array that this should work on was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayRef:
    """What a task is told to find an array: whose descriptor, and which file it must still be."""

    pid: int
    fd: int
    st_dev: int
    st_ino: int
    shape: tuple[int, ...]


class SharedArray:
    """A float32 array of zeros; give `ref` to tasks, and close it, or use `with`, when they are done or given up.

    It can be closed at any time. A child that has it open goes on with memory of its own that nobody reads, one that
    comes later gets ArrayGone. So whoever gives up a task closes its arrays and never gives them to another task.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        fd = os.memfd_create("streamsrv-array", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _size_bytes(shape))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            self._array: Samples | None = _mapped(fd, shape)
            status = os.fstat(fd)
        except BaseException:
            os.close(fd)
            raise
        self._ref = ArrayRef(pid=os.getpid(), fd=fd, st_dev=status.st_dev, st_ino=status.st_ino, shape=shape)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def array(self) -> Samples:
        """The samples. Views of it stay good after `close`, and keep the memory."""
        if self._array is None:
            raise ArrayGone
        return self._array

    @property
    def ref(self) -> ArrayRef:
        if self._array is None:
            raise ArrayGone
        return self._ref

    def close(self) -> None:
        if self._array is not None:
            self._array = None
            os.close(self._ref.fd)


@contextmanager
def opened(ref: ArrayRef) -> Iterator[Samples]:
    """Give the array itself, to read and to write, in another process than the one that made it.

    ArrayGone when it was closed meanwhile: its descriptor may be any other file by now, which is left untouched.
    """
    fd = _open(ref)
    try:
        array = _mapped(fd, ref.shape)
    finally:
        os.close(fd)
    yield array


def _open(ref: ArrayRef) -> int:
    path = f"/proc/{ref.pid}/fd/{ref.fd}"
    try:
        # Looked at before it is opened: to open a pipe or a terminal does something to it.
        if not _is_that(os.stat(path), ref):  # noqa: PTH116  a descriptor is no path that leads somewhere
            raise ArrayGone
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise ArrayGone from error
    if not _is_that(os.fstat(fd), ref):  # it became another one in between
        os.close(fd)
        raise ArrayGone
    return fd


def _is_that(status: os.stat_result, ref: ArrayRef) -> bool:
    return (status.st_dev, status.st_ino) == (ref.st_dev, ref.st_ino)


def _mapped(fd: int, shape: tuple[int, ...]) -> Samples:
    """An array of the file's memory, which it keeps mapped."""
    held = memoryview(mmap.mmap(fd, _size_bytes(shape)))
    return np.frombuffer(held, dtype=np.float32, count=math.prod(shape)).reshape(shape)


def _size_bytes(shape: tuple[int, ...]) -> int:
    if any(length < 0 for length in shape):
        raise ValueError(f"an array can't have the shape {shape}")
    # Nothing can't be mapped.
    return max(1, math.prod(shape)) * np.dtype(np.float32).itemsize
