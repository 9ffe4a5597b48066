"""Run tasks on devices: each on the next free one, in order of priority, again where a child dies."""

import asyncio
import heapq
import itertools
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
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

    A device works on one task at a time, and may be given more (`Device.in_flight`), which its child takes in the order
    in which they came. Of the devices that have room, the one with the fewest takes the waiting task with the lowest
    priority number, of equals the one that came first.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        self._workers = [_Worker(device) for device in devices]
        # Once for each task that it has room for; the one that was freed last is taken first, for it has things loaded.
        self._free = [worker for worker in reversed(self._workers) for _ in range(worker.device.in_flight)]
        self._waiting: list[tuple[int, int, _Task]] = []
        self._count = itertools.count()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        for _, _, task in self._waiting:
            task.fail(_closed())
        await asyncio.gather(*(asyncio.to_thread(worker.end) for worker in self._workers))

    @property
    def size(self) -> int:
        """How many tasks the devices take at the same time: more than that wait."""
        return sum(worker.device.in_flight for worker in self._workers)

    @property
    def devices(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(worker.device.name for worker in self._workers)

    async def run(self, priority: int, task: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `task`, which must be importable, in the child of a free device, and give what it returns.

        What it raises is raised here; WorkerDied when its child died under it several times. When this is cancelled,
        a task that a device was given runs to its end, which nobody waits for, and there is room only then. What it is
        given and gives goes through a pipe: large arrays travel by `arrays`.
        """
        if self._is_closed:
            raise _closed()
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._put(_Task(priority, next(self._count), partial(task, *args, **kwargs), result))
        self._hand_out()
        return await result

    def _put(self, task: "_Task") -> None:
        heapq.heappush(self._waiting, (task.priority, task.number, task))

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            _, _, task = heapq.heappop(self._waiting)
            if not task.is_over:  # else its caller has left
                self._begin(task)

    def _begin(self, task: "_Task") -> None:
        worker = min(reversed(self._free), key=lambda free: free.device.in_flight - self._free.count(free))
        try:
            child, future = worker.submit(task.call)
        except Exception as error:  # no process could be started
            task.fail(error)
            return
        self._free.remove(worker)
        future.add_done_callback(partial(self._settle_soon, task, worker, child))

    def _settle_soon(self, task: "_Task", worker: "_Worker", child: "_Child", future: Future[Any]) -> None:
        task.result.get_loop().call_soon_threadsafe(self._settle, task, worker, child, future)

    def _settle(self, task: "_Task", worker: "_Worker", child: "_Child", future: Future[Any]) -> None:
        self._free.append(worker)
        error = _closed() if future.cancelled() else future.exception()
        if isinstance(error, BrokenProcessPool):
            self._bury(child, worker, task, error)
        elif error is not None:
            task.fail(error)
        elif not task.is_over:
            task.result.set_result(future.result())
        self._hand_out()

    def _bury(self, child: "_Child", worker: "_Worker", task: "_Task", error: BrokenProcessPool) -> None:
        if self._is_closed:
            task.fail(_closed())
            return
        # A child's tasks are settled in their order: the first one is the one that it was at.
        if not child.is_mourned:
            child.is_mourned = True
            task.deaths += 1
            log.warning("worker_died", device=worker.device.name, deaths=task.deaths)
        if task.deaths >= _MAX_DEATHS:
            died = WorkerDied()
            died.__cause__ = error
            task.fail(died)
        else:
            self._put(task)


@dataclass(eq=False, slots=True)
class _Task:
    """One that was asked for. It keeps its place among those that wait when it has to run again."""

    priority: int
    number: int
    call: Callable[[], Any]
    result: asyncio.Future[Any]
    deaths: int = 0

    @property
    def is_over(self) -> bool:
        """It has its result, or nobody waits for one any more."""
        return self.result.done()

    def fail(self, error: BaseException) -> None:
        if not self.is_over:
            self.result.set_exception(error)


class _Worker:
    """One device and its one child, made when it is needed and anew when it has died."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._child: _Child | None = None

    def submit(self, call: Callable[[], Any]) -> "tuple[_Child, Future[Any]]":
        if self._child is not None and not self._child.is_dead:
            try:
                return self._child, self._child.submit(call)
            except BrokenProcessPool:  # it died in this moment
                pass
        self._child = None  # should no other one be had
        child = _Child(self.device)
        future = child.submit(call)
        self._child = child
        return child, future

    def end(self) -> None:
        """End the child at once; blocks until it is gone."""
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _Child:
    """A process and the executor that feeds it, which is of no use once the process has died."""

    def __init__(self, device: Device) -> None:
        self.is_mourned = False  # its death was counted
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            # Forked children would inherit the server's sockets, locks and threads.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=pin,
            initargs=(device, os.getpid()),
        )

    @property
    def is_dead(self) -> bool:
        """The executor learns of it a little later, and would take a task until then."""
        return bool(wait([process.sentinel for process in self._processes()], timeout=0))

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        return self._executor.submit(call)

    def end(self) -> None:
        for process in self._processes():
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _processes(self) -> list[multiprocessing.Process]:
        """The executor has no public name for them, and waiting for a long task isn't ending it."""
        return list((getattr(self._executor, "_processes", None) or {}).values())


def _closed() -> WorkerDied:
    return WorkerDied("The server is ending its workers.")
