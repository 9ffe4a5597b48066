"""What a child is fed: bytes and parts of files, in order, with back-pressure."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsrv.errors import InternalError
from streamsrv.media.feed import Feeder, FilePart, Piece

SECONDS = 20.0
LARGE = os.urandom(3 << 20)
FROM_FILE = st.tuples(st.integers(0, len(LARGE)), st.integers(0, 1 << 20)).map(
    lambda cut: (cut[0], min(cut[1], len(LARGE) - cut[0]))
)


@asynccontextmanager
async def child(command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A shell that runs `command` with a pipe at its input; it is gone after the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(command, stdin=pipe, stdout=pipe)
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def each(pieces: list[Piece]) -> AsyncIterator[Piece]:
    for piece in pieces:
        yield piece


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=100) | st.sampled_from([LARGE[:700_000]]) | FROM_FILE, max_size=6))
async def test_all_pieces_come_in_order(tmp_path: Path, pieces: list[bytes | tuple[int, int]]) -> None:
    """Whatever the pieces are, the child reads their sum, and that is what is counted."""
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    fed: list[Piece] = [piece if isinstance(piece, bytes) else FilePart(path, *piece) for piece in pieces]
    whole = b"".join(piece if isinstance(piece, bytes) else LARGE[piece[0] : piece[0] + piece[1]] for piece in pieces)
    async with child("exec cat") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reading = asyncio.ensure_future(process.stdout.read())
        feeder = Feeder(process.stdin)
        await feeder.feed(each(fed))
        process.stdin.close()
        assert await reading == whole
        assert feeder.fed_bytes == len(whole)


@pytest.mark.parametrize("kind", ["bytes", "part"])
async def test_a_child_that_wants_no_more_is_told_of(tmp_path: Path, kind: str) -> None:
    """A child that has ended raises what a broken pipe raises, whichever way its input comes."""
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    pieces: list[Piece] = [LARGE if kind == "bytes" else FilePart(path, 0, len(LARGE))]
    async with child("exec true") as process:
        assert process.stdin is not None
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await Feeder(process.stdin).feed(each(pieces))


@pytest.mark.parametrize("count", [len(LARGE) + 1, 10])
async def test_a_part_that_is_gone_is_no_end(tmp_path: Path, count: int) -> None:
    """A file that is shorter than its part, or gone, is an error, and never taken for the end of the input."""
    path = tmp_path / "large"
    if count > len(LARGE):
        path.write_bytes(LARGE)
    async with child("exec cat > /dev/null") as process:
        assert process.stdin is not None
        with pytest.raises(InternalError, match="gone"):
            await Feeder(process.stdin).feed(each([FilePart(path, 0, count)]))


async def test_a_slow_child_is_waited_for_until_it_is_killed(tmp_path: Path) -> None:
    """A child that takes nothing holds up its feeder alone; cancelled after a kill, it ends and leaves nothing open."""
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    before = len(list(Path("/proc/self/fd").iterdir()))
    async with child("exec sleep 60") as process:
        assert process.stdin is not None
        feeding = asyncio.ensure_future(Feeder(process.stdin).feed(each([FilePart(path, 0, len(LARGE))])))
        done, _ = await asyncio.wait([feeding], timeout=0.2)
        assert not done
        process.kill()
        feeding.cancel()
        with pytest.raises((asyncio.CancelledError, BrokenPipeError, ConnectionResetError)):
            await feeding
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
