"""Run tasks on devices: each on the next free one, in order of priority, again where a child dies."""

import asyncio
import heapq
import itertools
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import structlog

from streamsrv.errors import InternalError
from streamsrv.workers.child import pin
from streamsrv.workers.devices import Device

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger()

# A task that kills so many children is to blame itself.
_MAX_DEATHS = 3


class WorkerDied(InternalError):
    """The processes that worked on this died."""


class DevicePool:
    """`async with` it; `run` tasks from the event loop's thread, which lives as long as the children do.

    One task at a time is on a device. Free devices take the waiting task with the lowest priority number, of equals the
    one that came first.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        self._workers = [_Worker(device) for device in devices]
        self._free = list(reversed(self._workers))
        self._waiting: list[tuple[int, int, asyncio.Future[_Worker]]] = []
        self._count = itertools.count()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in self._workers))

    @property
    def size(self) -> int:
        """How many tasks can be worked on at the same time."""
        return len(self._workers)

    async def run(self, priority: int, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `task`, which must be importable, in the child of a free device, and give what it returns.

        What it raises is raised here; WorkerDied when its child died under it several times. When this is cancelled,
        a task that has begun runs to its end, which nobody waits for, and its device is free only then.
        """
        loop = asyncio.get_running_loop()
        for deaths in itertools.count(1):
            worker = await self._free_worker(priority)
            future = worker.submit(task, *args, **kwargs)
            future.add_done_callback(partial(self._release_soon, loop, worker))
            try:
                return await asyncio.wrap_future(future)
            except BrokenProcessPool as error:
                log.warning("worker_died", device=worker.device.name, deaths=deaths)
                if deaths >= _MAX_DEATHS:
                    raise WorkerDied from error
        raise AssertionError("unreachable")

    async def _free_worker(self, priority: int) -> "_Worker":
        if self._free:
            return self._free.pop()
        place: asyncio.Future[_Worker] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._count), place))
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._release(place.result())  # it was given one in the instant in which it left
            raise

    def _release_soon(self, loop: asyncio.AbstractEventLoop, worker: "_Worker", _: Future[Any]) -> None:
        loop.call_soon_threadsafe(self._release, worker)

    def _release(self, worker: "_Worker") -> None:
        while self._waiting:
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(worker)
                return
        self._free.append(worker)


class _Worker:
    """One device and the executor of its one child, made when it is needed and anew when it is broken."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        if self._executor is None:
            self._executor = self._start()
        try:
            return self._executor.submit(task, *args, **kwargs)
        except BrokenProcessPool:  # it died between two tasks
            self._executor = self._start()
            return self._executor.submit(task, *args, **kwargs)

    def end(self) -> None:
        """End the child at once; blocks until it is gone."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        for process in list(_processes(executor).values()):
            process.kill()
        executor.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1,
            # Forked children would inherit the server's sockets, locks and threads.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=pin,
            initargs=(self.device, os.getpid()),
        )


def _processes(executor: ProcessPoolExecutor) -> dict[int, multiprocessing.Process]:
    """The executor's children. It has no public name for them, and waiting for a long task isn't ending it."""
    return getattr(executor, "_processes", None) or {}
