"""One attempt at a job: from its lease to the row that says what came of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial

import structlog

from streamsrv.errors import DiskFull, InternalError, Problem
from streamsrv.jobs.assignment import NO_RELIEF, Assignment, Relief, Stand, Work
from streamsrv.jobs.job import Job, JobStatus, Lease, LeaseLost
from streamsrv.jobs.store import JobStore

OWN_FAULT = "The server failed while it worked on this job."
RETRY_SECONDS = 1.0  # between two tries to reach a store that fails, e.g. because its disk is full

Ending = Callable[
    [], Awaitable[Job]
]  # one call to the store that ends the lease; raises LeaseLost when it ended before

log = structlog.stdlib.get_logger()


class Attempt:
    """Runs the work under watch: the lease is renewed, and a cancellation or a lost lease ends the work at once."""

    def __init__(
        self,
        store: JobStore,
        lease: Lease,
        work: Work,
        *,
        lease_seconds: float,
        aside: Stand = nullcontext,
        relief: Relief = NO_RELIEF,
    ) -> None:
        self._store = store
        self._lease = lease
        self._work = work
        self._aside = aside
        self._relief = relief
        self._renew_seconds = lease_seconds / 3

    async def run(self) -> None:
        """Work on the job and record how that ended. Being cancelled means that the server stops: the job goes back."""
        log.info("job_started", attempt=self._lease.job.attempt, live=self._lease.job.accepted_at is None)
        try:
            ending = await self._work_under_watch()
        except asyncio.CancelledError:
            await self._put_back()
            raise
        await self._record(ending)

    async def _work_under_watch(self) -> Ending:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            work = group.create_task(self._run_work())
            await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
            watch.cancel()
            work.cancel()
        # A work that was cancelled and ended all the same is asked first: the store knows best what still counts.
        if not work.cancelled():
            return work.result()
        return self._release if watch.cancelled() else watch.result()

    async def _run_work(self) -> Ending:
        """Do the work and say how the job ends by it."""
        assignment = Assignment(self._store, self._lease, aside=self._aside)
        try:
            result = await self._work.run(assignment)
            await assignment.accepted()
        except LeaseLost:
            return self._lose
        except InternalError:
            log.exception("job_attempt_failed")
            return self._release
        except Problem as problem:
            return partial(self._reject, problem)
        except Exception:
            log.exception("job_attempt_failed")
            return self._release
        return partial(self._store.finish, self._lease, JobStatus.COMPLETED, result=result)

    async def _watch(self) -> Ending:
        """Keep the lease until something ends the work from outside, and say how the job ends by that."""
        loop = asyncio.get_running_loop()
        seen, renew_at = self._lease.job, loop.time() + self._renew_seconds
        while True:
            try:
                job = await self._store.wait_for_change(seen.id, seen.revision, max(0.0, renew_at - loop.time()))
                if job is None or job.status is not JobStatus.PROCESSING or job.attempt != seen.attempt:
                    return self._lose
                if job.cancel_requested:
                    return partial(self._store.finish, self._lease, JobStatus.CANCELLED)
                seen = job
                if loop.time() >= renew_at:
                    seen = (await self._store.renew(self._lease)).job
                    renew_at = loop.time() + self._renew_seconds
            except LeaseLost:
                return self._lose
            except Problem as problem:
                log.warning("job_lease_not_renewed", reason=problem.detail)
                await asyncio.sleep(RETRY_SECONDS)

    async def _release(self) -> Job:
        return await self._store.release(self._lease, OWN_FAULT)

    async def _reject(self, problem: Problem) -> Job:
        job = await self._store.get(self._lease.job.id)
        if job is not None and job.accepted_at is None:
            # The input isn't all there yet, so the attempt at the whole of it decides.
            return await self._store.put_back(self._lease)
        found = problem.members or None
        return await self._store.finish(self._lease, JobStatus.FAILED, error=problem.detail, result=found)

    async def _lose(self) -> Job:
        raise LeaseLost

    async def _put_back(self) -> None:
        try:
            job = await self._store.put_back(self._lease)
        except LeaseLost:
            log.info("job_lost")
        except Problem as problem:
            # A server that stops doesn't wait for its store: the next start finds the job.
            log.warning("job_not_put_back", reason=problem.detail)
        else:
            log.info("job_waits_again", status=job.status)

    async def _record(self, ending: Ending) -> None:
        """Tell the store how the job ended, again and again while the store fails, unless it was taken away."""
        while True:
            try:
                job = await ending()
            except LeaseLost:
                log.info("job_lost")
                return
            except Problem as problem:
                log.warning("job_end_not_recorded", reason=problem.detail)
                if isinstance(problem, DiskFull):
                    await self._relief.drop()  # its own files may fill the disk, and go once it has ended
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                # E.g. a result that JSON can't hold.
                log.exception("job_end_not_recorded")
                ending = self._release
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("job_ended" if job.status.ended else "job_waits_again", status=job.status, error=job.error)
                await self._settle(job)
                return

    async def _settle(self, job: Job) -> None:
        if job.status is not JobStatus.COMPLETED or self._work.settle is None:
            return
        try:
            await self._work.settle(job)
        except Exception:
            log.exception("job_not_settled")  # the next start sweeps
