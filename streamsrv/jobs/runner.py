"""The one task of this server that works on jobs; everything that runs for a job is its child."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from streamsrv.errors import DiskFull, Problem
from streamsrv.jobs.aside import Aside
from streamsrv.jobs.assignment import NO_RELIEF, Relief, Work
from streamsrv.jobs.attempt import RETRY_SECONDS, Attempt
from streamsrv.jobs.job import Job, JobKind, Lease, Priority
from streamsrv.jobs.retention import Retention
from streamsrv.jobs.store import JobStore

HOUR_SECONDS = 3600.0
IDLE_SECONDS = 60.0  # for one look at the queue when nothing wakes the runner

log = structlog.stdlib.get_logger()


class Runner:
    """Works on `slots` accepted jobs at a time, and besides on `upload_slots` jobs whose upload is still arriving.

    Kinds of work that have slots of their own don't count among them. Jobs are old by `clock`, which may not be sure.
    On a full disk what makes room may use the `relief`.

    `async with` settles what a former server left and starts; at the end the running jobs go back to wait, uncounted.
    """

    def __init__(
        self,
        store: JobStore,
        works: Mapping[JobKind, Work],
        *,
        slots: int,
        upload_slots: int,
        lease_seconds: float,
        retention_days: float,
        clock: Callable[[], float | None] = time.time,
        relief: Relief = NO_RELIEF,
    ) -> None:
        self._store = store
        self._works = works
        self._slots = slots
        self._upload_slots = upload_slots
        self._lease_seconds = lease_seconds
        self._retention = Retention(store, works, days=retention_days, is_running=self._is_running)
        self._clock = clock
        self._relief = relief
        self._running: dict[asyncio.Task[None], Job] = {}
        self._uploading: dict[asyncio.Task[None], str] = {}
        self._refused: dict[str, str] = {}
        self._asides = {
            kind: Aside(most=work.aside_slots, slots=work.slots, running=partial(self._count, kind), wake=self.wake)
            for kind, work in works.items()
            if work.slots is not None
        }
        self._group = asyncio.TaskGroup()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._queue_changed = asyncio.Event()
        self._files_left = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for job in await self._store.recover():
            log.info("job_ended", job_id=job.id, status=job.status, error=job.error)
        await self._relief.keep()
        self._main = asyncio.create_task(self._serve(), name="job runner")
        await self._started.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        if self._main is not None:
            await self._main

    def wake(self) -> None:
        """Look at the queue, and for files to remove, now. The store's changes do the same."""
        self._queue_changed.set()
        self._files_left.set()

    def refuse_later(self, job_id: str, error: str) -> None:
        """End a job whose upload did not arrive as soon as the store can write that."""
        self._refused[job_id] = error
        self.wake()

    async def start_upload(self, job_id: str) -> bool:
        """Work on a job while its upload arrives.

        False when all upload slots are busy, the job doesn't wait any more, or the server stops.
        """
        if self._stopped.is_set() or not self._started.is_set() or len(self._uploading) >= self._upload_slots:
            return False
        claimed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        # A task of its own, so that a request that goes away can't take the claim along.
        task = self._group.create_task(self._attend_upload(job_id, claimed))
        self._uploading[task] = job_id
        task.add_done_callback(self._forget)
        either: set[asyncio.Future[Any]] = {task, claimed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return claimed.done()

    async def _serve(self) -> None:
        async with self._group:
            claims = self._group.create_task(self._claim_jobs())
            helpers = [self._group.create_task(helper) for helper in (self._listen(), self._tidy_up())]
            self._started.set()
            await self._stopped.wait()
            self.wake()
            await claims  # never cancelled, so that no claim gets lost
            for task in (*helpers, *self._running, *self._uploading):
                task.cancel()

    async def _listen(self) -> None:
        while True:
            await self._store.wait_for_work(IDLE_SECONDS)
            self.wake()

    async def _claim_jobs(self) -> None:
        while not self._stopped.is_set():
            self._queue_changed.clear()
            await self._guarded(self._fill_slots)
            await self._queue_changed.wait()

    async def _fill_slots(self) -> None:
        await self._fill(Priority.BACKGROUND)
        await self._fill(Priority.URGENT)

    async def _fill(self, least: Priority) -> None:
        while (kinds := self._kinds_with_slots(least)) and not self._stopped.is_set():
            lease = await self._store.claim(kinds, least)
            if lease is None:
                return
            task = self._group.create_task(self._attend(lease))
            self._running[task] = lease.job
            task.add_done_callback(self._forget)
            await asyncio.sleep(0)  # a task that is cancelled before it has begun couldn't put its job back

    def _kinds_with_slots(self, least: Priority) -> list[JobKind]:
        """The kinds of which another job of the class `least`, or a more urgent one, can be worked on now."""
        running = Counter(job.kind for job in self._running.values())
        sharing = sum(count for kind, count in running.items() if self._works[kind].slots is None)
        kinds = []
        for kind, work in self._works.items():
            taken, most = (sharing, self._slots) if work.slots is None else (self._asides[kind].takes, work.slots)
            most += work.urgent_slots if least is Priority.URGENT else 0
            if taken < most:
                kinds.append(kind)
        return kinds

    async def _attend_upload(self, job_id: str, claimed: asyncio.Future[bool]) -> None:
        try:
            lease = await self._store.claim_upload(job_id)
        except Problem as problem:
            log.warning("upload_not_claimed", job_id=job_id, reason=problem.detail)
            return
        if lease is not None:
            claimed.set_result(True)
            await self._attend(lease)

    async def _attend(self, lease: Lease) -> None:
        """Do one attempt at a job. Whatever goes wrong with it stays with it."""
        job = lease.job
        work = self._works[job.kind]
        with structlog.contextvars.bound_contextvars(job_id=job.id):
            try:
                aside = self._asides[job.kind].stand if job.kind in self._asides else nullcontext
                await Attempt(
                    self._store, lease, work, lease_seconds=self._lease_seconds, aside=aside, relief=self._relief
                ).run()
                if await self._store.get(job.id) is None:
                    await self._retention.discard(job)  # its row went while the work was being stopped
            except Exception:
                log.exception("job_attempt_not_settled")

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._uploading.pop(task, None)
        for aside in self._asides.values():
            aside.look()
        self.wake()

    async def _tidy_up(self) -> None:
        retention_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            self._files_left.clear()
            await self._guarded(self._settle)
            if loop.time() >= retention_at:
                retention_at = loop.time() + HOUR_SECONDS
                await self._guarded(self._remove_old)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(1.0, self._lease_seconds / 2)):
                    await self._files_left.wait()

    async def _settle(self) -> None:
        try:
            await self._settle_jobs()
        except DiskFull:
            await self._relief.drop()
            raise
        await self._relief.keep()

    async def _settle_jobs(self) -> None:
        for job_id, error in list(self._refused.items()):
            await self._store.refuse(job_id, error)
            del self._refused[job_id]
        expired = await self._store.expire(self._running_ids())
        if expired:
            log.warning("job_leases_ran_out", count=expired)
        await self._retention.discard_ended()

    async def _remove_old(self) -> None:
        now = self._clock()
        if now is not None:
            await self._retention.remove_old(now)

    def _count(self, kind: JobKind) -> int:
        return sum(job.kind is kind for job in self._running.values())

    def _is_running(self, job_id: str) -> bool:
        return job_id in self._running_ids()

    def _running_ids(self) -> set[str]:
        return {*self._uploading.values(), *(job.id for job in self._running.values())}

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do one step; when it fails, say so and come back soon instead of ending the runner."""
        try:
            await step()
        except Exception as error:
            if isinstance(error, DiskFull):
                log.warning("job_runner_hindered", reason=error.detail)  # that lasts, and is known
            else:
                log.exception("job_runner_hindered")
            await asyncio.sleep(RETRY_SECONDS)
            self.wake()
