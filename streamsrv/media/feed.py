"""What goes into a child's standard input: bytes at hand, or parts of files, which the kernel moves by itself."""

import asyncio
import os
import select
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamsrv.errors import InternalError

# A pipe takes so much at a time; more would be copied again and again while it waits.
_WRITTEN_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class FilePart:
    """`count` bytes of a file from `offset` on."""

    path: Path
    offset: int
    count: int


Piece = bytes | FilePart


def feed_of(parts: Sequence[Piece]) -> AsyncIterator[Piece] | None:
    """Parts that are all there, one after the other; None where there are none."""
    return _one_by_one(parts) if parts else None


async def _one_by_one(parts: Sequence[Piece]) -> AsyncIterator[Piece]:
    for part in parts:
        yield part


def send_parts(parts: Sequence[Piece], descriptor: int) -> None:
    """For those who may block: all of it to a child, as it takes it. Raises BrokenPipeError where it wants no more."""
    for part in parts:
        if isinstance(part, FilePart):
            _send(part, descriptor)
        else:
            os.write(descriptor, part)  # headers, which a pipe takes at once


class Feeder:
    """Writes pieces to a child, one at a time and with back-pressure; `fed_bytes` are those that it has taken."""

    def __init__(self, stdin: asyncio.StreamWriter) -> None:
        self.fed_bytes = 0
        self._stdin = stdin
        # So that all of a piece has gone before the next one, which may take another way, begins.
        stdin.transport.set_write_buffer_limits(0)

    async def feed(self, pieces: AsyncIterator[Piece]) -> None:
        """Raises BrokenPipeError or ConnectionResetError once the child wants no more, and what `pieces` raises."""
        with ExitStack() as opened:
            sender: _Sender | None = None
            async for piece in pieces:
                if isinstance(piece, bytes):
                    await self._write(memoryview(piece))
                    continue
                sender = sender or opened.enter_context(_sender(self._stdin))
                await sender.send(piece)
                self.fed_bytes += piece.count

    async def _write(self, data: memoryview) -> None:
        for start in range(0, len(data), _WRITTEN_BYTES):
            part = data[start : start + _WRITTEN_BYTES]
            self._stdin.write(part)
            await self._stdin.drain()
            self.fed_bytes += len(part)


class _Sender:
    """Sends parts of files in a thread of its own: slow children would take all the threads that others wait for."""

    def __init__(self, descriptor: int, thread: Executor) -> None:
        self._descriptor = descriptor
        self._thread = thread

    async def send(self, part: FilePart) -> None:
        sending = asyncio.get_running_loop().run_in_executor(self._thread, _send, part, self._descriptor)
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # The child was killed, which ends it; until then the descriptor must stay open.
            await asyncio.wait([sending])
            sending.exception()  # a broken pipe, most likely, and less important than the cancellation
            raise


@contextmanager
def _sender(stdin: asyncio.StreamWriter) -> Iterator[_Sender]:
    """With a descriptor of the child's input that nobody else closes. ConnectionResetError where that is closed."""
    if stdin.transport.is_closing():
        raise ConnectionResetError("The child has ended.")
    descriptor = os.dup(stdin.transport.get_extra_info("pipe").fileno())
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="feed") as thread:
            yield _Sender(descriptor, thread)
    finally:
        os.close(descriptor)


def _send(part: FilePart, descriptor: int) -> None:
    """From the page cache to the child, without a way through this process. Blocks while the child takes nothing."""
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    with _opened(part.path) as file:
        offset, end = part.offset, part.offset + part.count
        while offset < end:
            try:
                moved = os.sendfile(descriptor, file, offset, end - offset)
            except BlockingIOError:  # asyncio's descriptors never wait
                ready.poll()
                continue
            if not moved:
                raise InternalError("A part of the sound is gone.")
            offset += moved


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InternalError("A part of the sound is gone.") from error
    try:
        yield file
    finally:
        os.close(file)
