"""What goes into a child's standard input: bytes at hand, or parts of files, which the kernel moves by itself."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from streamsrv.errors import InternalError

P = ParamSpec("P")
R = TypeVar("R")

# A pipe takes so much at a time; more would be copied again and again while it waits.
_WRITTEN_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class FilePart:
    """`count` bytes of a file from `offset` on."""

    path: Path
    offset: int
    count: int


Piece = bytes | FilePart


class Feeder:
    """Writes pieces to a child, one at a time and with back-pressure; `fed_bytes` are those that it has taken."""

    def __init__(self, stdin: asyncio.StreamWriter) -> None:
        self.fed_bytes = 0
        self._stdin = stdin
        # So that all of a piece has gone before the next one, which may take another way, begins.
        stdin.transport.set_write_buffer_limits(0)

    async def feed(self, pieces: AsyncIterator[Piece]) -> None:
        """Raises BrokenPipeError or ConnectionResetError once the child wants no more, and what `pieces` raises."""
        with _own_end(self._stdin) as descriptor:
            async for piece in pieces:
                if isinstance(piece, bytes):
                    await self._write(memoryview(piece))
                else:
                    await self._send(piece, descriptor)

    async def _write(self, data: memoryview) -> None:
        for start in range(0, len(data), _WRITTEN_BYTES):
            part = data[start : start + _WRITTEN_BYTES]
            self._stdin.write(part)
            await self._stdin.drain()
            self.fed_bytes += len(part)

    async def _send(self, part: FilePart, descriptor: int) -> None:
        async with _opened(part.path) as file:
            offset, end = part.offset, part.offset + part.count
            while offset < end:
                moved = await _in_thread(_send, descriptor, file, offset, end - offset)
                offset += moved
                self.fed_bytes += moved
                if offset < end:
                    # Not in the thread: a slow child, or many of them, would take all threads there are.
                    await _writable(descriptor)


@contextmanager
def _own_end(stdin: asyncio.StreamWriter) -> Iterator[int]:
    """A descriptor of the child's input that nobody else closes. Raises ConnectionResetError where that is closed."""
    if stdin.transport.is_closing():
        raise ConnectionResetError("The child has ended.")
    descriptor = os.dup(stdin.transport.get_extra_info("pipe").fileno())
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[int]:
    opening = asyncio.get_running_loop().run_in_executor(None, os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        file = await asyncio.shield(opening)
    except FileNotFoundError as error:
        raise InternalError("A part of the sound is gone.") from error
    except asyncio.CancelledError:
        with suppress(OSError):  # the thread opens it all the same
            os.close(await opening)
        raise
    try:
        yield file
    finally:
        os.close(file)


def _send(descriptor: int, file: int, offset: int, count: int) -> int:
    """From the page cache to the child, without a way through this process: as much as it takes now."""
    sent = 0
    with suppress(BlockingIOError):  # asyncio's descriptors never wait
        while sent < count:
            moved = os.sendfile(descriptor, file, offset + sent, count - sent)
            if not moved:
                raise InternalError("A part of the sound is gone.")
            sent += moved
    return sent


async def _in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do what may wait for the disk; cancelled meanwhile, it is waited for, since it uses descriptors of ours."""
    running = asyncio.get_running_loop().run_in_executor(None, partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def _writable(descriptor: int) -> None:
    """Wait until the child takes more, or is gone, which the next attempt finds out."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
