"""Arrays that two processes see: written there, read here, closed at the wrong moment, and never left behind."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.deadline import eventually, until

from streamsrv.workers.arrays import ArrayGone, ArrayRef, SharedArray, opened
from streamsrv.workers.devices import cpu_devices
from streamsrv.workers.pool import DevicePool

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0


@pytest.fixture
async def pool() -> AsyncIterator[DevicePool]:
    """One processor."""
    async with DevicePool(cpu_devices(1)) as pool:
        yield pool


def double(ref: ArrayRef, into: ArrayRef) -> float:
    with opened(ref) as array, opened(into) as doubled:
        doubled[:] = 2 * array
        return float(array.sum())


def fill(ref: ArrayRef, value: float, mark: str, go: str) -> float:
    """Open it, say so, wait, and write only then."""
    with opened(ref) as array:
        Path(mark).touch()
        until(Path(go).exists, seconds=SECONDS)
        array[:] = value
        return float(array.sum())


def serve(mark: str) -> None:
    """A server whose child has an array open, without an end."""

    async def main() -> None:
        async with DevicePool(cpu_devices(1)) as pool:
            with SharedArray((1 << 20,)) as array:
                Path(f"{mark}.inode").write_text(str(array.ref.st_ino))
                await pool.run(0, fill, array.ref, 1.0, mark, f"{mark}.never")

    asyncio.run(main())


def held(inode: int) -> set[int]:
    """The processes that have such an array mapped."""
    return {int(entry.name) for entry in Path("/proc").glob("[1-9]*") if inode in inodes(int(entry.name))}


def descriptors() -> list[str]:
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


def inodes(pid: int) -> set[int]:
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return set()
    return {int(line.split()[4]) for line in lines if "memfd:streamsrv-array" in line}


@contextmanager
def put_in_place(fd: int, other: int) -> Iterator[None]:
    """For a while the descriptor `fd`, which is free, is another one's file."""
    os.dup2(other, fd)
    try:
        yield
    finally:
        os.close(fd)


async def test_both_sides_see_the_same(pool: DevicePool) -> None:
    """What the server writes the child reads, and the other way round; a new array is all zeros."""
    with SharedArray((2, 3, 1000)) as samples, SharedArray((2, 3, 1000)) as doubled:
        assert samples.array.shape == (2, 3, 1000)
        assert samples.array.dtype == np.float32
        assert not samples.array.any()
        samples.array[:] = np.arange(6000, dtype=np.float32).reshape(2, 3, 1000)
        assert await pool.run(0, double, samples.ref, doubled.ref) == 5999 * 3000
        assert np.array_equal(doubled.array, 2 * samples.array)


def test_a_ref_can_be_pickled() -> None:
    """What a task is told is the same on the other side, and small."""
    with SharedArray((4, 2, 343980)) as array:
        pickled = pickle.dumps(array.ref)
        assert pickle.loads(pickled) == array.ref
        assert len(pickled) < 500


@pytest.mark.parametrize("shape", [(0,), (3, 0, 5), (1,), ()])
def test_any_shape_will_do(shape: tuple[int, ...]) -> None:
    """An array of nothing is an array too."""
    with SharedArray(shape) as shared, opened(shared.ref) as array:
        assert shared.array.shape == array.shape == shape
        array[...] = 1
        assert np.array_equal(shared.array, np.ones(shape))


def test_a_wrong_shape_is_refused() -> None:
    """Two wrong lengths don't make a right size."""
    with pytest.raises(ValueError, match="shape"):
        SharedArray((-2, -3))


async def test_closed_while_a_child_has_it(pool: DevicePool, tmp_path: Path) -> None:
    """A child that is at it goes on to its end; its writes reach nobody, not the next array either."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    async with asyncio.TaskGroup() as tasks:
        with SharedArray((1000,)) as given_up:
            filling = tasks.create_task(pool.run(0, fill, given_up.ref, 1.0, str(mark), str(go)))
            await eventually(mark.exists)
        with SharedArray((1000,)) as after:
            assert after.ref.fd == given_up._ref.fd  # the descriptor is used again
            go.touch()
            assert await filling == 1000
            assert not after.array.any()


async def test_closed_before_the_child_opens_it(pool: DevicePool, tmp_path: Path) -> None:
    """A task that comes too late is told so."""
    with SharedArray((10,)) as array:
        ref = array.ref
    with pytest.raises(ArrayGone):
        await pool.run(0, fill, ref, 1.0, str(tmp_path / "mark"), str(tmp_path))


def test_a_descriptor_that_is_another_file_is_left_alone(tmp_path: Path) -> None:
    """Whatever has the number of a closed array by now, a file, a pipe or an array: it isn't written to."""
    array = SharedArray((10,))
    ref = array.ref
    array.close()
    file = tmp_path / "file"
    file.write_bytes(bytes(range(100)))
    with SharedArray((10,)) as other, file.open("r+b") as opened_file:
        assert other.ref.fd == ref.fd
        reading, writing = os.pipe()
        with pytest.raises(ArrayGone), opened(ref):
            pass
        free = replace(ref, fd=writing + 50)
        for fd in (opened_file.fileno(), reading, writing):
            with put_in_place(free.fd, fd), pytest.raises(ArrayGone), opened(free):
                pass
        assert not other.array.any()
    assert file.read_bytes() == bytes(range(100))
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_process_that_is_gone_has_no_arrays() -> None:
    """An array of a process that has ended is gone."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with SharedArray((10,)) as array, pytest.raises(ArrayGone), opened(replace(array.ref, pid=ended.pid)):
        pass


def test_a_closed_array_is_gone() -> None:
    """After it was closed nothing more can be had of it; to close it again does nothing."""
    array = SharedArray((10,))
    array.close()
    array.close()
    for wanted in ("array", "ref"):
        with pytest.raises(ArrayGone):
            getattr(array, wanted)


def test_views_outlive_it() -> None:
    """An array or a slice that somebody kept stays good after the close, on either side, and only then it goes."""
    with SharedArray((10, 10)) as shared:
        inode = shared.ref.st_ino
        ours = shared.array[3:5]
        with opened(shared.ref) as array:
            array[:] = 7
            theirs = array[4]
            del array
    assert ours.sum() == 140
    ours[1] = 8
    assert theirs.sum() == 80
    assert inode in inodes(os.getpid())
    del ours, theirs
    assert inode not in inodes(os.getpid())


def test_nobody_can_cut_it_off() -> None:
    """Its size is sealed, so that no touch of a mapped sample can fail."""
    with SharedArray((10,)) as array, pytest.raises(PermissionError):
        os.ftruncate(array.ref.fd, 0)


def test_nothing_is_left_behind() -> None:
    """It has no name in any folder; closed, its descriptors and its memory are gone without waiting for a collector."""
    gc.disable()
    try:
        before = descriptors()
        for _ in range(50):
            with SharedArray((1000,)) as shared, opened(shared.ref) as array:
                array[:] = 1
                assert os.fstat(shared.ref.fd).st_nlink == 0
                assert not os.get_inheritable(shared.ref.fd)
            del array
        assert descriptors() == before
        assert inodes(os.getpid()) == set()
    finally:
        gc.enable()


async def test_a_killed_server_leaves_no_memory(tmp_path: Path) -> None:
    """When the server is killed its arrays go with it, also those that a child has open."""
    mark = tmp_path / "mark"
    argv = [sys.executable, "-c", f"import {__name__} as tests; tests.serve({str(mark)!r})"]
    with subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "tests")}) as server:
        try:
            await eventually(mark.exists)
            inode = int(Path(f"{mark}.inode").read_text())
            assert server.pid in held(inode)
            assert len(held(inode)) == 2
        finally:
            server.kill()
    await eventually(lambda: not held(inode))
