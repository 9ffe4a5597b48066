"""The bounded memory of small files."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from streamsrv.web.segments import HotFiles

ROOM = 64 * 1024


class Shelf:
    """Where files are read from. Counts the reads; `gate`, when cleared, holds them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.reads: list[str] = []
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    def load(self, key: str) -> Callable[[], Awaitable[bytes | None]]:
        async def load() -> bytes | None:
            self.reads.append(key)
            self.begun.put_nowait(key)
            data = self.files.get(key)
            await self.gate.wait()
            return data

        return load


async def next_read(shelf: Shelf) -> None:
    """Wait until another read has begun."""
    async with asyncio.timeout(5):
        await shelf.begun.get()


async def test_second_reader_is_served_from_memory() -> None:
    """A file is read once."""
    shelf, hot = Shelf({"a": b"x" * 100}), HotFiles(ROOM)
    assert await hot.get("a", shelf.load("a")) == b"x" * 100
    assert await hot.get("a", shelf.load("a")) == b"x" * 100
    assert shelf.reads == ["a"]


async def test_many_at_once_cause_one_read() -> None:
    """Those who ask while a file is being read wait for that read."""
    shelf, hot = Shelf({"a": b"sound"}), HotFiles(ROOM)
    shelf.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(hot.get("a", shelf.load("a"))) for _ in range(20)]
        await next_read(shelf)
        shelf.gate.set()
    assert [task.result() for task in asking] == [b"sound"] * 20
    assert shelf.reads == ["a"]


async def test_missing_files_are_asked_for_again() -> None:
    """None is not kept: the file may come."""
    shelf, hot = Shelf({}), HotFiles(ROOM)
    assert await hot.get("a", shelf.load("a")) is None
    shelf.files["a"] = b"now"
    assert await hot.get("a", shelf.load("a")) == b"now"


async def test_failures_reach_all_who_wait_and_are_not_kept() -> None:
    """An exception of the read is raised for everyone who waited for it, and the next one reads again."""
    hot, gate = HotFiles(ROOM), asyncio.Event()

    async def fail() -> bytes | None:
        await gate.wait()
        raise OSError("the disk is gone")

    async def work() -> bytes | None:
        return b"back"

    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(_outcome(hot.get("a", fail))) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()
    assert [str(task.result()) for task in asking] == ["the disk is gone"] * 3
    assert await hot.get("a", work) == b"back"


async def _outcome(get: Awaitable[bytes | None]) -> bytes | OSError | None:
    try:
        return await get
    except OSError as error:
        return error


async def test_cancelled_reader_does_not_fail_the_others() -> None:
    """When the one who reads for all is cancelled, another one of them reads."""
    shelf, hot = Shelf({"a": b"sound"}), HotFiles(ROOM)
    shelf.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(hot.get("a", shelf.load("a")))
        await next_read(shelf)
        second = tasks.create_task(hot.get("a", shelf.load("a")))
        await asyncio.sleep(0)
        first.cancel()
        await next_read(shelf)
        shelf.gate.set()
    assert first.cancelled()
    assert second.result() == b"sound"


async def test_cancelled_waiter_leaves_the_read_alone() -> None:
    """One who waits may go without ending the read for the others."""
    shelf, hot = Shelf({"a": b"sound"}), HotFiles(ROOM)
    shelf.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(hot.get("a", shelf.load("a")))
        await next_read(shelf)
        second = tasks.create_task(hot.get("a", shelf.load("a")))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        shelf.gate.set()
    assert first.result() == b"sound"
    assert shelf.reads == ["a"]


async def test_large_files_are_not_kept() -> None:
    """A file of more than an eighth of the room would drive out too many others."""
    shelf, hot = Shelf({"large": bytes(ROOM // 8), "small": bytes(ROOM // 8 - 1024)}), HotFiles(ROOM)
    for key in ("large", "small", "large", "small"):
        await hot.get(key, shelf.load(key))
    assert shelf.reads == ["large", "small", "large"]


async def test_least_recently_asked_for_goes_first() -> None:
    """What was asked for last stays when the room is full."""
    files = {str(number): bytes(ROOM // 10) for number in range(12)}
    shelf, hot = Shelf(files), HotFiles(ROOM)
    for number in range(12):
        await hot.get("0", shelf.load("0"))
        await hot.get(str(number), shelf.load(str(number)))
    shelf.reads.clear()
    await hot.get("0", shelf.load("0"))
    await hot.get("11", shelf.load("11"))
    await hot.get("1", shelf.load("1"))
    assert shelf.reads == ["1"]


async def test_forget_drops_a_job() -> None:
    """All files below a prefix go, and no others."""
    shelf, hot = Shelf({"job1/a": b"1", "job1/b": b"2", "job10/a": b"3"}), HotFiles(ROOM)
    for key in shelf.files:
        await hot.get(key, shelf.load(key))
    hot.forget("job1/")
    shelf.reads.clear()
    for key in shelf.files:
        await hot.get(key, shelf.load(key))
    assert shelf.reads == ["job1/a", "job1/b"]


async def test_forget_reaches_a_read_in_flight() -> None:
    """A file that is being read while it is forgotten is not kept, and who asks later reads anew."""
    shelf, hot = Shelf({"job/a": b"old"}), HotFiles(ROOM)
    shelf.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(hot.get("job/a", shelf.load("job/a")))
        await next_read(shelf)
        hot.forget("job/")
        shelf.files["job/a"] = b"new"
        second = tasks.create_task(hot.get("job/a", shelf.load("job/a")))
        await next_read(shelf)
        shelf.gate.set()
    assert (first.result(), second.result()) == (b"old", b"new")
    assert await hot.get("job/a", shelf.load("job/a")) == b"new"


async def test_no_room_keeps_nothing() -> None:
    """With a size of 0 every file is read each time."""
    shelf, hot = Shelf({"a": b""}), HotFiles(0)
    await hot.get("a", shelf.load("a"))
    await hot.get("a", shelf.load("a"))
    assert shelf.reads == ["a", "a"]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 400)), max_size=60))
def test_room_is_never_exceeded(asked: list[tuple[int, int]]) -> None:
    """Whatever is asked for in whatever order: right bytes come, and no more than the room is kept."""
    room = 4096

    async def ask_all() -> None:
        shelf, hot = Shelf({f"{number}/{size}": bytes([number]) * size for number, size in asked}), HotFiles(room)
        for number, size in asked:
            key = f"{number}/{size}"
            assert await hot.get(key, shelf.load(key)) == bytes([number]) * size
            assert sum(len(data) for data in hot._kept.values()) <= hot._kept_bytes <= room

    asyncio.run(ask_all())
