"""A job as it changes, for those who want to be told."""

from collections.abc import AsyncIterator

from streamsrv.jobs.job import Job
from streamsrv.jobs.store import JobStore

_LOOK_SECONDS = 15.0  # a change ends it early


async def follow(store: JobStore, job: Job, seen: int) -> AsyncIterator[Job]:
    """Give the job now, unless its revision `seen` was seen, and after each change until it has ended or is gone."""
    current: Job | None = job
    if seen > job.revision:
        seen = 0  # of an earlier job with this id
    while current is not None:
        if current.revision > seen:
            seen = current.revision
            yield current
        if current.status.ended:
            return
        current = await store.wait_for_change(current.id, seen, _LOOK_SECONDS)
