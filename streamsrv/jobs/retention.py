"""Files go with their jobs: those of failed and cancelled jobs at once, those of old jobs with their rows."""

from collections.abc import Callable, Mapping

import structlog

from streamsrv.jobs.assignment import Work
from streamsrv.jobs.job import Job, JobKind
from streamsrv.jobs.store import JobStore

BATCH = 1000  # more than can run, so that those that are skipped never fill it
DAY_SECONDS = 86400.0

log = structlog.stdlib.get_logger()


class Retention:
    """Removes what is no longer wanted. What can't be removed now is tried again at the next call.

    `is_running` says of a job's id whether its work is still going on, or being stopped, here.
    """

    def __init__(
        self,
        store: JobStore,
        works: Mapping[JobKind, Work],
        *,
        days: float,
        is_running: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._works = works
        self._days = days
        self._is_running = is_running

    async def discard_ended(self) -> None:
        """Remove the files of failed and cancelled jobs whose work has stopped."""
        for job in await self._store.to_discard(BATCH):
            if not self._is_running(job.id) and await self.discard(job):
                await self._store.mark_discarded(job.id)

    async def remove_old(self, now: float) -> None:
        """Remove jobs, with their files, that ended more than `days` before the Unix time `now`. 0 days: keep them.

        Those that somebody has asked for since stay.
        """
        if not self._days:
            return
        moment, removed = now - self._days * DAY_SECONDS, True
        while removed:
            removed = False
            for job in await self._store.ended_before(moment, BATCH):
                if await self._remove(job, moment):
                    removed = True

    async def _remove(self, job: Job, moment: float) -> bool:
        if self._is_running(job.id) or not await self._store.retire(job.id, moment) or not await self.discard(job):
            return False
        await self._store.remove(job.id)
        return True

    async def discard(self, job: Job) -> bool:
        """Remove all files of a job, unless they are gone; False when that failed."""
        if job.discarded:
            return True
        try:
            await self._works[job.kind].discard(job)
        except Exception:
            log.exception("job_files_not_removed", job_id=job.id)
            return False
        log.info("job_files_removed", job_id=job.id, status=job.status)
        return True
