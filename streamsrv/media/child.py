"""Child processes: in a group of their own, within limits, never left behind. They die with the server."""

import asyncio
import ctypes
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from streamsrv.errors import InternalError
from streamsrv.media.memory import MOST_BYTES
from streamsrv.tasks import both

_PR_SET_PDEATHSIG = 1
_STACK_BYTES = 8 << 20
_LIBC = ctypes.CDLL(None)
QUICK_SECONDS = 60.0
_MAX_REPORT_BYTES = 16 << 20
_CHUNK_BYTES = 64 * 1024
_PROGRAMS = (b"bwrap", b"ffmpeg", b"ffprobe")


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What one child may use: processor time, size of one file it writes, open files, memory."""

    cpu_seconds: int = 6 * 3600
    file_bytes: int = 1 << 40
    open_files: int = 256
    memory_bytes: int = MOST_BYTES

    @classmethod
    def for_sound(cls, max_seconds: float, file_bytes: int | None = None, *, memory_bytes: int = MOST_BYTES) -> Self:
        """What decoding and encoding so much sound may take: never more time than it lasts."""
        limits = cls(cpu_seconds=60 + int(max_seconds), memory_bytes=memory_bytes)
        return limits if file_bytes is None else replace(limits, file_bytes=file_bytes)


@dataclass(frozen=True, slots=True)
class Finished:
    returncode: int
    stdout: str
    stderr: str


async def run_to_end(
    argv: Sequence[str], most_seconds: float = QUICK_SECONDS, memory_bytes: int = MOST_BYTES
) -> Finished:
    """Run a program that says little, such as ffprobe. InternalError when it takes more than `most_seconds`.

    Half of them may be processor time.
    """
    limits = ChildLimits(cpu_seconds=int(most_seconds / 2), memory_bytes=memory_bytes)
    process = await spawn(argv, limits, folder=None, feeding=False)
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - they were opened as pipes
    try:
        async with asyncio.timeout(most_seconds):
            stdout, stderr = await asyncio.gather(_read_report(process.stdout), _read_report(process.stderr))
            if max(len(stdout), len(stderr)) > _MAX_REPORT_BYTES:
                raise InternalError("The file's description is too long.")
            await process.wait()
    except TimeoutError as error:
        raise InternalError("Looking into the file took too long.") from error
    finally:
        kill_group(process)
        await asyncio.shield(process.communicate())  # to the end, so that no pipe is left open
    return Finished(process.returncode or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


async def run_through(argv: Sequence[str], limits: ChildLimits, take: Callable[[bytes], None]) -> int:
    """Run a program that says much; `take` its output piece by piece, in a thread. Gives its status.

    What it says on stderr is thrown away, however much it is.
    """
    process = await spawn(argv, limits, folder=None, feeding=False)
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - they were opened as pipes
    try:
        await both(_take_all(process.stdout, take), _throw_away(process.stderr))
        return await process.wait()
    finally:
        kill_group(process)
        await asyncio.shield(process.communicate())  # to the end, so that no pipe is left open


async def _take_all(stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    while piece := await stream.read(_CHUNK_BYTES):
        await asyncio.to_thread(take, piece)


async def _throw_away(stream: asyncio.StreamReader) -> None:
    while await stream.read(_CHUNK_BYTES):
        pass


async def _read_report(stream: asyncio.StreamReader) -> bytes:
    """All of it, or a little more than is allowed: the rest is left, and its writer with it."""
    report = bytearray()
    while len(report) <= _MAX_REPORT_BYTES and (chunk := await stream.read(_CHUNK_BYTES)):
        report += chunk
    return bytes(report)


def end_strays(folder: Path) -> int:
    """Kill what a killed server left running: bubblewrap, ffmpeg and ffprobe whose arguments name files below `folder`.

    They die with their parent, but for the instant in which bubblewrap waits for its own start. Gives their number.
    """
    mark, found = bytes(folder) + b"/", 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to somebody else
            program, *arguments = (process / "cmdline").read_bytes().split(b"\0")
            if program.rpartition(b"/")[2] in _PROGRAMS and any(mark in word for word in arguments):
                os.kill(int(process.name), signal.SIGKILL)
                found += 1
    return found


async def spawn(
    argv: Sequence[str], limits: ChildLimits, *, folder: Path | None, feeding: bool
) -> asyncio.subprocess.Process:
    """Start a child with pipes on all sides that it needs. Cancelled meanwhile, it leaves neither child nor pipe."""
    # asyncio, cancelled between the fork and the last pipe, leaves that one open: the start is always let through.
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if feeding else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            start_new_session=True,
            preexec_fn=prepare_child(os.getpid(), limits),
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        kill_group(process)
        await process.communicate()
        raise


def prepare_child(parent: int, limits: ChildLimits) -> Callable[[], None]:
    """What a new child does between fork and exec."""
    return partial(_prepare_child, parent, limits)


def _prepare_child(parent: int, limits: ChildLimits) -> None:
    """Between fork and exec: die with the server, even by kill -9, and keep within the limits."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the server died before the line above took effect
    os.nice(5)  # encoders yield to the server that feeds them
    _offer_to_the_kernel()
    for kind, most in (
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_STACK, _STACK_BYTES),  # each thread's counts as memory
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def _offer_to_the_kernel() -> None:
    """Where a machine has no memory left, the kernel is to take this child, and not the server."""
    with suppress(OSError):  # where there is no /proc nobody asks
        mark = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(mark, b"1000")
        os.close(mark)


def kill_group(process: asyncio.subprocess.Process) -> None:
    kill_group_of(process.pid, ended=process.returncode is not None)


def kill_group_of(pid: int, *, ended: bool) -> None:
    """Kill a child and all that it started. One that has been reaped leaves its number to others."""
    if not ended:
        with suppress(ProcessLookupError):  # it ended first
            os.killpg(pid, signal.SIGKILL)


async def read_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Split into lines of any length without ever refusing one: the reader's own limit would stop the drain."""
    rest = b""
    while chunk := await stream.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        rest = rest[:_CHUNK_BYTES]
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
