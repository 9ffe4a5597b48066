"""Songs as clients know them, by the hash of their file: which job answers for one, and what there is to tell of it."""

import time
from typing import Any

from streamsrv.errors import NotFound, NotReady
from streamsrv.jobs.estimates import eta_seconds
from streamsrv.jobs.job import Job, JobKind, JobStatus
from streamsrv.jobs.outbox import Message
from streamsrv.jobs.sqlite import SqliteJobStore
from streamsrv.jobs.words import timestamp
from streamsrv.outbound.urls import redact
from streamsrv.separate.downloads import REMOVED, TrackFiles
from streamsrv.separate.schema import song_reply
from streamsrv.separate.tracks import ALIASES
from streamsrv.separate.work import SeparateWork
from streamsrv.web.segments import HotFiles

HASH = "{song:[0-9a-fA-F]{64}}"
SUBJECT = "local"

_PAGE = 200
# When to ask again for what isn't finished.
_RETRY_SECONDS = 2
_SEEN_AHEAD = 100
_RECENT_JOBS = 20


class Songs:
    """Looks songs up, describes and removes them. NotFound, in words, where there is nothing."""

    def __init__(
        self,
        store: SqliteJobStore,
        work: SeparateWork,
        files: TrackFiles,
        hot: HotFiles,
        *,
        slots: int,
        ageing_seconds: float,
    ) -> None:
        self._store = store
        self._work = work
        self._files = files
        self._hot = hot
        self._slots = slots
        self._ageing_seconds = ageing_seconds

    async def current(self, song: str, model: str | None) -> Job:
        """The job that stands for a song: what is being done for it, else what was asked for last."""
        job = await self._store.submissions.latest(song.lower(), SUBJECT, model)
        if job is None:
            raise NotFound("There is no such song here.")
        return job

    async def completed(self, song: str, model: str | None) -> Job:
        """The job whose tracks are served. Raises NotReady, with the progress, while there is none yet."""
        current = await self.current(song, model)
        # Looked for last: what ends between the two is no failure.
        job = await self._store.submissions.latest_completed(song.lower(), SUBJECT, model)
        if job is not None:
            return job
        members = {"song_status": current.status.value, "progress": round(current.progress, 1)}
        if current.status.ended:
            words = f"The song is {current.status.value}: {current.error or 'nobody wanted it any more.'}"
            raise NotFound(words, members=members)
        words = f"The song isn't finished yet: {current.progress:.0f} %."
        raise NotReady(words, members=members, headers={"Retry-After": str(_RETRY_SECONDS)})

    async def playable(self, song: str, model: str | None) -> Job:
        """The job whose segments are served: what is being done for a song, else what is done."""
        job = await self.current(song, model)
        if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            done = await self._store.submissions.latest_completed(song.lower(), SUBJECT, model)
            if done is None:
                raise NotFound(f"The song is {job.status.value}; there is nothing to play.")
            return done
        return job

    async def title(self, job: Job) -> str:
        return await self._store.submissions.name_of(job.id, SUBJECT) or job.title

    async def track(self, job: Job, name: str) -> str:
        """The track's own name, for one that may be an alias. NotFound where the song hasn't got it any more."""
        if name not in job.result.get("tracks", ()):
            name = ALIASES.get(name, name)
        if name not in job.result.get("tracks", ()):
            known = ", ".join(job.result.get("tracks", ()))
            raise NotFound(f"There is no such track. There are: {known}." if known else "There is no such track yet.")
        if name in await self.removed(job):
            raise NotFound(REMOVED)
        return name

    async def removed(self, job: Job) -> frozenset[str]:
        return await self._store.submissions.removed_tracks(job.id, SUBJECT)

    async def queue(self) -> list[str]:
        """The hashes of the songs that aren't finished, in the order in which they are served."""
        # Both in one read: between two a song begins, and would be in neither.
        unfinished = await self._all(JobStatus.PROCESSING, JobStatus.PENDING)
        running = [job for job in unfinished if job.status is JobStatus.PROCESSING]
        waiting = [job for job in unfinished if job.status is JobStatus.PENDING]
        ordered = sorted(running, key=lambda job: job.started_at or 0) + sorted(waiting, key=self._turn)
        return list(dict.fromkeys(job.options["song"] for job in ordered))

    async def describe(self, job: Job, origin: str) -> dict[str, Any]:
        waits = job.status is JobStatus.PENDING
        position = await self._store.position(job.id) if waits else None
        ahead = await self._store.ahead_of(job.id, _SEEN_AHEAD) if waits else []
        recent = await self._store.recent_completed(JobKind.SEPARATE, _RECENT_JOBS) if waits else []
        eta = eta_seconds(job, ahead=ahead, recent=recent, slots=self._slots, now=time.time())
        callbacks = [_callback_reply(message) for message in await self.callbacks(job)]
        return await self._reply(job, origin, position, eta, callbacks)

    async def describe_briefly(self, job: Job, origin: str) -> dict[str, Any]:
        """For lists: no callbacks, and no estimate for what waits, which would read the queue for each of them."""
        position = await self._store.position(job.id) if job.status is JobStatus.PENDING else None
        eta = eta_seconds(job, ahead=[], recent=[], slots=self._slots, now=time.time())
        return await self._reply(job, origin, position, eta, [])

    async def callbacks(self, job: Job) -> list[Message]:
        return await self._store.outbox.messages_of(job.options["song"], SUBJECT)

    async def cancel(self, song: str, model: str | None) -> Job | None:
        """Cancel what waits or runs for a song, and give the last of it; None where nothing does."""
        cancelled = None
        for job in await self._store.submissions.jobs_of(song.lower(), SUBJECT):
            if not job.status.ended and model in (None, job.options["model"]):
                cancelled = await self._store.request_cancel(job.id)
        return cancelled

    async def remove(self, song: str, model: str | None) -> None:
        """Remove all that was made of a song, or by one model. NotFound where there is nothing."""
        await self.current(song, model)
        for job_id in await self._store.submissions.drop_claims(song.lower(), SUBJECT, model):
            job = await self._store.get(job_id)
            if job is not None:
                await self._remove_job(job)

    async def remove_track(self, job: Job, name: str) -> None:
        """Remove one track. NotFound the second time."""
        name = await self.track(job, name)
        if not await self._store.submissions.remove_track(job.id, SUBJECT, name):
            raise NotFound(REMOVED)
        if not await self._store.submissions.is_wanted(job.id, name):
            await self._files.remove(job, name)
            self._hot.forget(f"stems/{job.id}/")

    async def sweep(self) -> None:
        """At start-up: remove what a killed server had begun to remove."""
        while jobs := await self._store.submissions.unclaimed(JobKind.SEPARATE, _PAGE):
            for job in jobs:
                await self._remove_job(job)

    async def _remove_job(self, job: Job) -> None:
        await self._work.discard(job)
        for name in job.result.get("tracks", ()):
            await self._files.forget(job, name)
        await self._store.remove(job.id)
        self._hot.forget(f"stems/{job.id}/")

    async def _reply(
        self, job: Job, origin: str, position: int | None, eta: float | None, callbacks: list[dict[str, Any]]
    ) -> dict[str, Any]:
        asked = await self._store.submissions.submission_of(job.id, SUBJECT)
        return song_reply(
            job,
            origin=origin,
            song_name=asked.name if asked else job.title,
            model_reason=asked.model_reason if asked else None,
            queue_position=position,
            eta_seconds=eta,
            removed=await self.removed(job),
            callbacks=callbacks,
        )

    async def _all(self, *statuses: JobStatus) -> list[Job]:
        found: list[Job] = []
        cursor: str | None = None
        while True:
            jobs, cursor = await self._store.page(kind=JobKind.SEPARATE, statuses=statuses, before=cursor, limit=_PAGE)
            found += jobs
            if cursor is None:
                return found

    def _turn(self, job: Job) -> float:
        return (job.accepted_at or 0) + job.priority * self._ageing_seconds


def _callback_reply(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "url": redact(message.url),
        "status": message.state,
        "next_at": timestamp(message.next_at),
        "attempts": [
            {"at": timestamp(each.at), "status": each.status, "error": each.error, "seconds": round(each.seconds, 3)}
            for each in message.deliveries
        ],
    }
