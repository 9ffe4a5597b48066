"""What a feature sees of a job it works on, and what it gives the runner to work with."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from streamsrv.jobs.job import Job, JobStatus, Lease, LeaseLost, Segment
from streamsrv.jobs.store import JobStore

Stand = Callable[[], AbstractAsyncContextManager[None]]

_WAIT_SECONDS = 60.0  # for one look; a change ends it early


class Assignment:
    """One attempt at one job. `job` is the row as this attempt last saw it.

    Every method raises LeaseLost once the job was taken away; the work should let it pass.
    """

    def __init__(self, store: JobStore, lease: Lease, *, aside: Stand = nullcontext) -> None:
        self._store = store
        self._lease = lease
        self._aside = aside
        self.job = lease.job

    def aside(self) -> AbstractAsyncContextManager[None]:
        """For a block that waits for somebody else: another job may have the slot. Leaving it waits for one."""
        return self._aside()

    async def report(self, progress: float | None = None, **result: Any) -> None:
        """Note progress (0..100) and merge what was found out into the job's result. Call it as often as you like."""
        self.job = await self._store.report(self._lease, progress=progress, result=result or None)

    async def publish(self, segments: Sequence[Segment], progress: float | None = None, **result: Any) -> None:
        """Publish segments whose files are stored. Raises ValueError for a number or name that is published already."""
        self.job = await self._store.add_segments(self._lease, segments, progress=progress, result=result or None)

    async def unpublish(self, **result: Any) -> None:
        """Take back all that earlier attempts published; None removes what they had noted under a name."""
        self.job = await self._store.drop_segments(self._lease, result=result or None)

    async def accepted(self) -> Job:
        """Wait until the job's upload has been accepted, and return the job with its source."""
        while self.job.accepted_at is None:
            job = await self._store.wait_for_change(self.job.id, self.job.revision, _WAIT_SECONDS)
            if job is None or job.status is not JobStatus.PROCESSING or job.attempt != self.job.attempt:
                raise LeaseLost
            self.job = job
        return self.job


class Relief(Protocol):
    """Space that is kept for what must be recorded on a full disk, so that a job can end and its files can go."""

    async def keep(self) -> None: ...

    async def drop(self) -> None: ...


class _NoRelief:
    async def keep(self) -> None:
        pass

    async def drop(self) -> None:
        pass


NO_RELIEF: Relief = _NoRelief()


@dataclass(frozen=True, slots=True)
class Work:
    """How a feature does its jobs.

    `run` does one attempt; returning means Completed, and what it returns is merged into the job's result. A Problem
    that it raises is the input's fault and ends the job, and its members are merged, too; InternalError and any other
    exception are the server's own fault, and the job is tried again. It is cancelled when the job is, and should then
    leave no process behind.
    `settle` removes what a completed job no longer needs, `discard` removes all files of a job. Both may be called
    again, and for a job that has none.
    Jobs of a kind that waits for others, as for downloads, have `slots` of their own, so that they hold up nobody.
    Where these are taken, `urgent_slots` more are there for urgent jobs. Of such a kind `aside_slots` jobs may stand
    aside meanwhile (`Assignment.aside`), so that they don't hold up each other either.
    """

    run: Callable[[Assignment], Awaitable[Mapping[str, Any] | None]]
    discard: Callable[[Job], Awaitable[None]]
    settle: Callable[[Job], Awaitable[None]] | None = None
    slots: int | None = None
    urgent_slots: int = 0
    aside_slots: int = 0
