"""Tasks in groups: work that many ask for at once and that is done once, places for a few, and the one error."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from weakref import WeakValueDictionary

from streamsrv.errors import InternalError

T = TypeVar("T")
U = TypeVar("U")


class SharedWork:
    """`async with` it. Whoever asks for what is being done already waits for that.

    Work goes on as long as anybody waits for it, and is cancelled when the last one has left.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[Any]] = {}
        self._waiting: dict[Hashable, int] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running.values():
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def run(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, or wait for the one who does what has this key. All get the same result, or the same error."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = self._tasks.create_task(outcome_of(work))
            self._waiting[key] = 0
        self._waiting[key] += 1
        try:
            result = await asyncio.shield(task)
        finally:
            self._leave(key, task)
        if isinstance(result, Exception):
            raise result
        return cast(T, result)

    def _leave(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._running.get(key) is not task:
            return
        self._waiting[key] -= 1
        if task.done() or self._waiting[key] == 0:
            task.cancel()
            del self._running[key], self._waiting[key]


class Places:
    """So many at the same time under each name; others wait for their turn. A name that nobody has costs nothing.

    In another process they begin anew.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, name: str) -> AsyncIterator[None]:
        """One of the places of this name, for the block."""
        places = self._of.setdefault(name, asyncio.Semaphore(self._most))
        async with places:
            yield

    def __reduce__(self) -> tuple[type["Places"], tuple[int]]:
        return Places, (self._most,)


async def outcome_of(work: Callable[[], Awaitable[T]]) -> T | Exception:
    """What came of it; an error, too, is a result, since one that leaves a task of a group ends all others."""
    try:
        return await work()
    except Exception as error:
        return error


async def all_of(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at the same time. The first error ends the rest, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in work]
    except BaseExceptionGroup as group:
        raise first_error(group) from group
    return [task.result() for task in running]


async def both(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """The same for two of different kinds."""
    one, other = await all_of([first, second])
    return cast(T, one), cast(U, other)


def first_error(error: BaseException) -> Exception:
    """The one thing that went wrong in a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else InternalError(repr(error))
