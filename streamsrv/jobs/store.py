"""What every job store promises, whatever keeps the rows."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from streamsrv.jobs.job import Job, JobKind, JobStatus, Lease, Priority, Segment


class JobStore(Protocol):
    """Jobs and their segments. One method is one transaction; it is done, and lasts, when the method returns.

    A change runs to its end also when its caller is cancelled. Unknown ids raise NotFound where a Job is promised.
    Every method that takes a lease raises LeaseLost once the lease is not valid any more. `result` and `options` are
    what JSON can hold, else TypeError or ValueError. A full disk raises DiskFull, a broken store InternalError.

    A job whose cancellation was asked for ends Cancelled, whichever way it ends.
    """

    # What the one who receives the upload calls.

    async def submit(self, job: Job) -> Job:
        """Write a new job, accepted or not. Raises Conflict when the id is taken.

        The id of an upload that failed is free again once its files are gone, for which this waits some seconds.
        A fingerprint that an unfinished job has is a Conflict, too: see submit_once.
        """

    async def submit_once(self, job: Job) -> Job:
        """Write a new job, or return the one that waits or runs for its kind, subject and fingerprint.

        However many ask at once, all get the same job. One whose cancellation was asked for doesn't count: it will
        answer nobody, so a new job is written, which may run before the old one has stopped.
        Raises ValueError for a job without fingerprint, Conflict when the id is taken.
        """

    async def accept(
        self,
        job_id: str,
        *,
        source: str,
        source_bytes: int,
        title: str,
        options: Mapping[str, Any],
        priority: Priority,
    ) -> Job:
        """Record that the upload's end was seen.

        Raises Conflict when the job has ended, is being cancelled, or was accepted before.
        """

    async def refuse(self, job_id: str, error: str) -> Job | None:
        """End a job whose upload did not arrive and void its lease; None when there was no such job any more."""

    # What a runner calls.

    async def claim(self, kinds: Collection[JobKind], least: Priority = Priority.BACKGROUND) -> Lease | None:
        """Give the accepted job whose turn it is to exactly one runner, or return None.

        Only of the class `least` or a more urgent one.

        Priority counts, and so does waiting: each ageing time that passes since acceptance makes up for one class.
        """

    async def claim_upload(self, job_id: str) -> Lease | None:
        """Give a waiting job whose upload is still arriving to exactly one runner, or return None."""

    async def renew(self, lease: Lease) -> Lease:
        """Prolong the lease."""

    async def report(
        self,
        lease: Lease,
        *,
        progress: float | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Job:
        """Note progress (0..100, never decreasing) and merge what was found out (a None removes its key).

        Progress alone is written at most twice a second; what is held back goes with the next write.
        """

    async def add_segments(
        self,
        lease: Lease,
        segments: Sequence[Segment],
        *,
        progress: float | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Job:
        """Publish segments, all or none. Raises ValueError for a number or name that is published already."""

    async def drop_segments(self, lease: Lease, *, result: Mapping[str, Any] | None = None) -> Job:
        """Take back all segments, for an attempt whose output differs. `result` is merged; None removes a name."""

    async def finish(
        self,
        lease: Lease,
        status: JobStatus,
        *,
        error: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Job:
        """End the job Completed, Failed or Cancelled. Raises ValueError to complete what was not accepted."""

    async def release(self, lease: Lease, error: str) -> Job:
        """Count a failure that was the server's own: the job waits again, or ends Failed when it had its attempts.

        Before its upload was accepted a job waits again in any case.
        """

    async def put_back(self, lease: Lease) -> Job:
        """Let the job wait again without counting anything."""

    async def recover(self) -> list[Job]:
        """Settle what a former server left, before anything runs. Returns the jobs that this ended.

        Uploads that were not accepted end Failed. Jobs that ran wait again, or end Failed past the allowed restarts.
        """

    async def expire(self, alive: Collection[str] = ()) -> int:
        """Settle the jobs whose lease ran out, and count them. One whose upload may still arrive waits again.

        `alive` are the ids of jobs that are being worked on for certain: where the machine slept, or its clock was set,
        a lease can run out before its holder's time to renew it has come.
        """

    async def to_discard(self, limit: int) -> list[Job]:
        """List failed and cancelled jobs whose files may still be there."""

    async def mark_discarded(self, job_id: str) -> None:
        """Record that the files of a failed or cancelled job are gone, and forget its segments."""

    async def wait_for_work(self, timeout: float) -> None:
        """Return once a job may have become claimable or have ended since the last call, or after `timeout` seconds.

        For one runner.
        """

    # What anyone calls.

    async def request_cancel(self, job_id: str) -> Job:
        """End a waiting job at once; of a running one, ask its runner. A job that has ended stays as it is."""

    async def get(self, job_id: str) -> Job | None: ...

    async def latest(self, kind: JobKind, subject: str, fingerprint: str) -> Job | None:
        """Give the newest job for a request, whatever became of it."""

    async def segments(self, job_id: str) -> list[Segment]:
        """List what the job has published, by number, the init section first."""

    async def segments_in(self, job_id: str, folder: str) -> list[Segment]:
        """The same of those whose names begin with `folder` and a slash."""

    async def segment(self, job_id: str, name: str) -> Segment | None: ...

    async def page(
        self,
        *,
        subject: str = "local",
        kind: JobKind | None = None,
        statuses: Collection[JobStatus] = (),
        before: str | None = None,
        limit: int,
    ) -> tuple[list[Job], str | None]:
        """List jobs, newest first, and give the cursor of the next page, None at the end.

        No statuses are all statuses. Jobs that are added meanwhile move nothing.
        Raises BadParameter for a malformed cursor.
        """

    async def position(self, job_id: str) -> int | None:
        """Give the place in the queue of its kind, 1 being the next; None unless the job is accepted and waits."""

    async def count_waiting(self, kind: JobKind) -> int:
        """Count the jobs of a kind that wait, those whose uploads still arrive, too."""

    async def ahead_of(self, job_id: str, limit: int) -> list[Job]:
        """List the first `limit` of the waiting jobs of its kind that will be claimed before this one."""

    async def recent_completed(self, kind: JobKind, limit: int) -> list[Job]:
        """List the jobs that were completed last, last first."""

    async def ended_before(self, moment: float, limit: int) -> list[Job]:
        """List jobs that ended before a Unix time and that nobody has asked for since, first ended first."""

    async def retire(self, job_id: str, before: float) -> bool:
        """Take all claims off a job that has ended, so that it answers no new request and its files can go.

        False, and nothing changes, when somebody has asked for it at or after a Unix time.
        """

    async def remove(self, job_id: str) -> Job | None:
        """Forget a job that has ended, its segments too; None when there was none. Raises Conflict for any other."""

    async def wait_for_change(self, job_id: str, after_revision: int, timeout: float) -> Job | None:
        """Return the job once its revision is larger, or as it is after `timeout` seconds; None once it is gone."""
