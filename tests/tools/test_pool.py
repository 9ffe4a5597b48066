"""Tasks on devices: real child processes, killed and cancelled."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from streamsrv.workers.devices import Device, cpu_devices, gpu_devices
from streamsrv.workers.pool import DevicePool, WorkerDied

SECONDS = 30.0


@pytest.fixture
async def pool() -> AsyncIterator[DevicePool]:
    """Two processors."""
    async with DevicePool(cpu_devices(2)) as pool:
        yield pool


def surroundings(_: int = 0) -> dict[str, str]:
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    return {"pid": str(os.getpid()), **{name: os.environ[name] for name in names}}


def fail() -> None:
    raise LookupError("of the task")


def wait_for(path: str) -> int:
    """Say that it runs, and go on until the file is there."""
    Path(f"{path}.{os.getpid()}").touch()
    deadline = time.monotonic() + SECONDS
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.getpid()


def die(mark: str, times: int) -> int:
    """Kill the own process, as often as that."""
    died = len(list(Path(mark).parent.glob(f"{Path(mark).name}.*")))
    if died < times:
        Path(f"{mark}.{died}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return died


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not reached():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def running(path: Path) -> list[int]:
    return [int(mark.suffix[1:]) for mark in path.parent.glob(f"{path.name}.*")]


async def test_a_child_is_pinned_and_kept(pool: DevicePool) -> None:
    """A child sees its own device and nothing else, has one thread, and stays for the next task."""
    first, second = await pool.run(0, surroundings), await pool.run(0, surroundings)
    assert first == second
    assert first["pid"] != str(os.getpid())
    assert (first["CUDA_VISIBLE_DEVICES"], first["OMP_NUM_THREADS"], first["OMP_WAIT_POLICY"]) == ("", "1", "PASSIVE")


async def test_tasks_run_side_by_side(pool: DevicePool, tmp_path: Path) -> None:
    """There are as many tasks at work as there are devices, each in a process of its own, and no more."""
    go = tmp_path / "go"
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(pool.run(0, wait_for, str(go))) for _ in range(3)]
        await until(lambda: len(running(go)) == 2)
        go.touch()
    assert len({task.result() for task in both}) == 2


async def test_what_a_task_raises_is_raised(pool: DevicePool) -> None:
    """An error of a task is the caller's, and the device is free again."""
    for _ in range(3):
        with pytest.raises(LookupError, match="of the task"):
            await pool.run(0, fail)


async def test_a_dead_child_costs_its_task_only(pool: DevicePool, tmp_path: Path) -> None:
    """A task whose child was killed runs again in a fresh one; others don't notice."""
    go, mark = tmp_path / "go", tmp_path / "mark"
    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(pool.run(0, wait_for, str(go)))
        await until(lambda: bool(running(go)))
        assert await pool.run(0, die, str(mark), 2) == 2
        go.touch()
    assert [other.result()] == running(go)


async def test_a_task_that_kills_is_given_up(pool: DevicePool, tmp_path: Path) -> None:
    """After three dead children the task is to blame, and the pool goes on."""
    with pytest.raises(WorkerDied):
        await pool.run(0, die, str(tmp_path / "mark"), 99)
    assert len(list(tmp_path.glob("mark.*"))) == 3
    assert (await pool.run(0, surroundings))["OMP_NUM_THREADS"] == "1"


async def test_a_child_that_dies_between_tasks_is_replaced(pool: DevicePool) -> None:
    """Whoever comes next gets a fresh child."""
    pid = int((await pool.run(0, surroundings))["pid"])
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_alive(pid))
    assert int((await pool.run(0, surroundings))["pid"]) != pid


async def test_the_lower_number_goes_first(tmp_path: Path) -> None:
    """A waiting task with a lower number overtakes; of equals the first one goes first."""
    order: list[str] = []

    async def note(pool: DevicePool, priority: int, name: str) -> None:
        await pool.run(priority, surroundings)
        order.append(name)

    go = tmp_path / "go"
    async with DevicePool(cpu_devices(1)) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(0, wait_for, str(go)))
        await until(lambda: bool(running(go)))
        for priority, name in ((5, "late"), (1, "first"), (1, "second"), (9, "last")):
            tasks.create_task(note(pool, priority, name))
        await asyncio.sleep(0)
        go.touch()
    assert order == ["first", "second", "late", "last"]


async def test_a_cancelled_wait_leaves_the_queue(tmp_path: Path) -> None:
    """Who no longer waits gets no device, and who comes after does."""
    go = tmp_path / "go"
    async with DevicePool(cpu_devices(1)) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(0, wait_for, str(go)))
        await until(lambda: bool(running(go)))
        gone = tasks.create_task(pool.run(0, wait_for, str(tmp_path / "never")))
        await asyncio.sleep(0)
        gone.cancel()
        later = tasks.create_task(pool.run(0, surroundings))
        await asyncio.sleep(0)
        go.touch()
        assert (await later)["OMP_NUM_THREADS"] == "1"
    assert not running(tmp_path / "never")


async def test_a_device_stays_taken_while_its_task_runs(tmp_path: Path) -> None:
    """A cancelled caller leaves its task to end by itself: until then the device has no other one."""
    go = tmp_path / "go"
    async with DevicePool(cpu_devices(1)) as pool, asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(pool.run(0, wait_for, str(go)))
        await until(lambda: bool(running(go)))
        gone.cancel()
        later = tasks.create_task(pool.run(0, surroundings))
        done, _ = await asyncio.wait([later], timeout=0.2)
        assert not done
        go.touch()
        assert (await later)["pid"] == str(running(go)[0])


async def test_leaving_ends_every_child(tmp_path: Path) -> None:
    """After the block no child is left, not even one that was in the middle of a task."""
    never = tmp_path / "never"
    async with DevicePool(cpu_devices(1)) as pool, asyncio.TaskGroup() as tasks:
        busy = tasks.create_task(pool.run(0, wait_for, str(never)))
        await until(lambda: bool(running(never)))
        busy.cancel()
    (pid,) = running(never)
    await until(lambda: not is_alive(pid))


def test_gpus_are_those_that_the_variable_leaves() -> None:
    """CUDA_VISIBLE_DEVICES has numbers or ids, and ends at an entry that names none; without it all are there."""
    found = ["GPU-aaa", "GPU-abb", "MIG-c"]
    names = {None: ["0", "1", "2"], "": [], "1": ["1"], "2,0": ["2", "0"], "0,9,1": ["0"], "-1": [], "MIG": ["MIG"]}
    for variable, visible in names.items():
        assert [device.visible for device in gpu_devices(found, variable)] == visible
    assert gpu_devices(found, "GPU-a") == []  # names two
    assert gpu_devices(["GPU-x"], None) == [Device("cuda:0", visible="0")]
