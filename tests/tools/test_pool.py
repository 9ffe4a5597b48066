"""Tasks on devices: real child processes, killed and cancelled."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.deadline import eventually, until
from support.traces.processes import alive

from streamsrv.workers.devices import Device, cpu_devices
from streamsrv.workers.pool import DevicePool, WorkerDied

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0


# No GPU is needed for one: what makes it one is that it has an entry for CUDA_VISIBLE_DEVICES.
GPUS = [Device("cuda:0", visible="GPU-a"), Device("cuda:1", visible="GPU-b")]


@pytest.fixture
async def pool() -> AsyncIterator[DevicePool]:
    """Two processors."""
    async with DevicePool(cpu_devices(2)) as pool:
        yield pool


def surroundings(_: int = 0) -> dict[str, str]:
    names = (
        "STREAMSRV_DEVICE",
        "CUDA_VISIBLE_DEVICES",
        "CUBLAS_WORKSPACE_CONFIG",
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
    )
    return {"pid": str(os.getpid()), **{name: os.environ[name] for name in names}}


def fail() -> None:
    raise LookupError("of the task")


def wait_for(path: str) -> int:
    """Say that it runs, and go on until the file is there."""
    Path(f"{path}.{os.getpid()}").touch()
    until(Path(path).exists, seconds=SECONDS)
    return os.getpid()


def die(mark: str, times: int) -> int:
    """Kill the own process, as often as that."""
    died = len(list(Path(mark).parent.glob(f"{Path(mark).name}.*")))
    if died < times:
        Path(f"{mark}.{died}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return died


def serve(path: str) -> None:
    """A server that has given its only device a task without an end."""

    async def main() -> None:
        async with DevicePool(cpu_devices(1)) as pool:
            await pool.run(0, wait_for, path)

    asyncio.run(main())


@contextmanager
def without_descriptors() -> Iterator[None]:
    """No file and no pipe can be opened; those that are open stay."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Not less: poll takes no more files than that.
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def note(file: str, name: str, go: str = "") -> str:
    """Write down that it was its turn, and wait for `go`, if that is a file."""
    with Path(file).open("a") as written:
        written.write(f"{name}\n")
    if go:
        wait_for(go)
    return name


def running(path: Path) -> list[int]:
    return [int(mark.suffix[1:]) for mark in path.parent.glob(f"{path.name}.*")]


async def test_a_child_is_pinned_and_kept(pool: DevicePool) -> None:
    """A child sees its own device and nothing else, has one thread, and stays for the next task."""
    first, second = await pool.run(0, surroundings), await pool.run(0, surroundings)
    assert first == second
    assert first["pid"] != str(os.getpid())
    del first["pid"]
    assert list(first.values()) == ["cpu:0", "", ":4096:8", "1", "PASSIVE"]


async def test_tasks_run_side_by_side(pool: DevicePool, tmp_path: Path) -> None:
    """There are as many tasks at work as there are devices, each in a process of its own, and no more."""
    go = tmp_path / "go"
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(pool.run(0, wait_for, str(go))) for _ in range(3)]
        await eventually(lambda: len(running(go)) == 2)
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
        await eventually(lambda: bool(running(go)))
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
    await eventually(lambda: not alive([pid]))
    assert int((await pool.run(0, surroundings))["pid"]) != pid


async def test_the_lower_number_goes_first(tmp_path: Path) -> None:
    """A waiting task with a lower number overtakes; of equals the first one goes first."""
    order: list[str] = []

    async def run(pool: DevicePool, priority: int, name: str) -> None:
        await pool.run(priority, surroundings)
        order.append(name)

    go = tmp_path / "go"
    async with DevicePool(cpu_devices(1)) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(0, wait_for, str(go)))
        await eventually(lambda: bool(running(go)))
        for priority, name in ((5, "late"), (1, "first"), (1, "second"), (9, "last")):
            tasks.create_task(run(pool, priority, name))
        await asyncio.sleep(0)
        go.touch()
    assert order == ["first", "second", "late", "last"]


async def test_a_cancelled_wait_leaves_the_queue(tmp_path: Path) -> None:
    """Who no longer waits gets no device, and who comes after does."""
    go = tmp_path / "go"
    async with DevicePool(cpu_devices(1)) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(0, wait_for, str(go)))
        await eventually(lambda: bool(running(go)))
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
        await eventually(lambda: bool(running(go)))
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
        await eventually(lambda: bool(running(never)))
        busy.cancel()
    (pid,) = running(never)
    await eventually(lambda: not alive([pid]))


async def test_a_pool_tells_its_devices() -> None:
    """It says which devices it has, and how many tasks they take at once: a processor one, a GPU two."""
    async with DevicePool([*GPUS, *cpu_devices(1)]) as pool:
        assert pool.devices == ("cuda:0", "cuda:1", "cpu:0")
        assert pool.size == 5


async def test_a_gpu_has_its_next_task_ready(tmp_path: Path) -> None:
    """A GPU works on one task and has the next one at hand; those after it wait, and can be overtaken."""
    order = tmp_path / "order"
    go = tmp_path / "go"
    async with DevicePool(GPUS[:1]) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(5, note, str(order), "first", str(go)))
        await eventually(lambda: bool(running(go)))
        for priority, name in ((5, "at hand"), (5, "late"), (1, "urgent")):
            tasks.create_task(pool.run(priority, note, str(order), name))
        await asyncio.sleep(0)
        assert order.read_text().split("\n")[:-1] == ["first"]
        go.touch()
    assert order.read_text().split("\n")[:-1] == ["first", "at hand", "urgent", "late"]


async def test_an_idle_gpu_goes_before_a_second_task(tmp_path: Path) -> None:
    """A task goes to the device that has the fewest; only when all are busy the next ones are put at hand."""
    go = tmp_path / "go"
    async with DevicePool(GPUS) as pool, asyncio.TaskGroup() as tasks:
        at_work = [tasks.create_task(pool.run(0, wait_for, str(go))) for _ in range(4)]
        await eventually(lambda: len(running(go)) == 2)
        go.touch()
    pids = [task.result() for task in at_work]
    assert len(set(pids[:2])) == 2
    assert sorted(pids[:2]) == sorted(pids[2:])


async def test_a_death_counts_for_the_task_that_ran(tmp_path: Path) -> None:
    """A task that was only at hand when its child died isn't to blame: it runs again, however often that happens."""
    async with DevicePool(GPUS[:1]) as pool, asyncio.TaskGroup() as tasks:
        go = tmp_path / "go"
        tasks.create_task(pool.run(0, wait_for, str(go)))
        await eventually(lambda: bool(running(go)))
        killers = [tasks.create_task(pool.run(0, die, str(tmp_path / f"mark{number}"), 2)) for number in range(3)]
        behind = tasks.create_task(pool.run(0, surroundings))
        await asyncio.sleep(0)
        go.touch()
        assert (await behind)["STREAMSRV_DEVICE"] == "cuda:0"
    assert [task.result() for task in killers] == [2, 2, 2]


async def test_a_task_that_kills_takes_none_along(tmp_path: Path) -> None:
    """One task ends with WorkerDied after three children, those behind it with their results; others see nothing."""
    order, go = tmp_path / "order", tmp_path / "go"
    async with DevicePool(GPUS) as pool, asyncio.TaskGroup() as tasks:
        other = tasks.create_task(pool.run(0, wait_for, str(go)))
        await eventually(lambda: bool(running(go)))
        killing = asyncio.gather(pool.run(0, die, str(tmp_path / "mark"), 99), return_exceptions=True)
        behind = [tasks.create_task(pool.run(1, note, str(order), str(number))) for number in range(4)]
        (died,) = await killing
        assert isinstance(died, WorkerDied)
        assert isinstance(died.__cause__, BrokenProcessPool)
        go.touch()
    assert [task.result() for task in behind] == ["0", "1", "2", "3"]
    assert other.result() in running(go)
    assert len(running(go)) == 1
    assert len(list(tmp_path.glob("mark.*"))) == 3


async def test_what_nobody_waits_for_is_not_run_again(tmp_path: Path) -> None:
    """When the child of a cancelled task dies, the task is forgotten and its device goes on."""
    go, marks = tmp_path / "go", tmp_path / "marks"
    async with DevicePool(GPUS[:1]) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run(0, wait_for, str(go)))
        await eventually(lambda: bool(running(go)))
        killer = tasks.create_task(pool.run(0, die, str(marks), 99))
        await asyncio.sleep(0)
        killer.cancel()
        later = tasks.create_task(pool.run(0, surroundings))
        await asyncio.sleep(0)
        go.touch()
        assert (await later)["STREAMSRV_DEVICE"] == "cuda:0"
    assert len(list(tmp_path.glob("marks.*"))) == 1


async def test_leaving_ends_those_who_wait(tmp_path: Path) -> None:
    """Whoever still waits for a task when the pool is left, at work or in the queue, learns that it died."""
    never = tmp_path / "never"
    async with DevicePool(cpu_devices(1)) as pool:
        both = asyncio.gather(*(pool.run(0, wait_for, str(never)) for _ in range(2)), return_exceptions=True)
        await eventually(lambda: bool(running(never)))
    assert [type(result) for result in await both] == [WorkerDied, WorkerDied]
    assert not alive(running(never))
    assert len(running(never)) == 1
    with pytest.raises(WorkerDied):
        await pool.run(0, surroundings)


async def test_a_child_that_cannot_start_loses_no_device(tmp_path: Path) -> None:
    """Where no process can be had the caller is told, the first time and the second, and the device isn't lost."""
    never = tmp_path / "never"
    async with DevicePool(cpu_devices(1)) as pool:
        with without_descriptors(), pytest.raises(OSError, match="Too many open files"):
            await pool.run(0, surroundings)
        again = asyncio.gather(pool.run(0, wait_for, str(never)), return_exceptions=True)
        await eventually(lambda: bool(running(never)))
        (pid,) = running(never)
        with without_descriptors():
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(SECONDS):
                (error,) = await again
        assert isinstance(error, OSError)
        assert (await pool.run(0, surroundings))["STREAMSRV_DEVICE"] == "cpu:0"


async def test_children_die_with_the_server(tmp_path: Path) -> None:
    """A killed server leaves no child, not even one that is at work."""
    never = tmp_path / "never"
    argv = [sys.executable, "-c", f"import {__name__} as tests; tests.serve({str(never)!r})"]
    with subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "tests")}) as server:
        try:
            await eventually(lambda: bool(running(never)))
        finally:
            server.kill()
    (pid,) = running(never)
    await eventually(lambda: not alive([pid]))
