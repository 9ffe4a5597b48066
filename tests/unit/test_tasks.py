"""Work that is shared: done once for all who ask at once, and given up when nobody waits any more."""

import asyncio
import pickle

import pytest

from streamsrv.tasks import Places, SharedWork, all_of


class Task:
    """A task that the test lets go, and that counts how often it was begun and given up."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.cancelled = 0

    async def __call__(self) -> str:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "done"


async def test_many_share_one() -> None:
    """Twenty who ask at once get one result; who asks later has it done anew, and another key is other work."""
    task = Task()
    async with SharedWork() as work, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(work.run("key", task)) for _ in range(20)]
        other = tasks.create_task(work.run("other", task))
        await asyncio.sleep(0)
        task.go.set()
        assert [await each for each in asked] == ["done"] * 20
        assert await other == "done"
        assert task.begun == 2
        await work.run("key", task)
        assert task.begun == 3


async def test_an_error_is_everybodys() -> None:
    """All who wait get the error, and the next one tries again."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("no")

    async with SharedWork() as work:
        heard = await asyncio.gather(*(work.run("key", fail) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in heard] == [LookupError] * 3
        task = Task()
        task.go.set()
        assert await work.run("key", task) == "done"


async def test_work_goes_on_as_long_as_one_waits() -> None:
    """The one who began it may leave; when the last one leaves, it is given up, and the next one begins anew."""
    task = Task()
    async with SharedWork() as work, asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(work.run("key", task)) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        assert (task.begun, task.cancelled) == (1, 0)
        second.cancel()
        await asyncio.sleep(0.01)
        assert (task.begun, task.cancelled) == (1, 1)
        third = tasks.create_task(work.run("key", task))
        await asyncio.sleep(0.01)
        task.go.set()
        assert await third == "done"
    assert task.begun == 2


async def test_leaving_ends_what_goes_on() -> None:
    """After the block nothing goes on."""
    task = Task()
    async with asyncio.TaskGroup() as tasks:
        async with SharedWork() as work:
            waiting = tasks.create_task(work.run("key", task))
            await asyncio.sleep(0.01)
        assert task.cancelled == 1
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_all_of_it_at_once() -> None:
    """Results come in the order of the work; the first error ends the rest, and is raised as it is."""

    async def give(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def fail() -> int:
        raise LookupError("no")

    assert await all_of([give(1), give(2)]) == [1, 2]
    task = Task()
    with pytest.raises(LookupError):
        await all_of([task(), fail()])
    assert task.cancelled == 1


def test_places_go_along_to_another_loop_and_process() -> None:
    """So many at a time under each name, wherever that is; who waited elsewhere is no matter there."""

    async def crowd(places: Places, name: str) -> int:
        inside = most = 0

        async def stay() -> None:
            nonlocal inside, most
            async with places.place(name):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(stay())
        return most

    places = Places(3)
    assert asyncio.run(crowd(places, "a")) == 3
    assert asyncio.run(crowd(places, "a")) == 3
    assert asyncio.run(crowd(pickle.loads(pickle.dumps(places)), "a")) == 3
