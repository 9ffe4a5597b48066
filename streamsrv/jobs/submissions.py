"""Who asked for which song: claims on the jobs that answer them, and what was removed of these."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol
from urllib.parse import urlsplit

from streamsrv.errors import Conflict
from streamsrv.jobs.changes import Changes
from streamsrv.jobs.database import Database, Row, Transaction, uninterrupted
from streamsrv.jobs.job import Job, JobKind
from streamsrv.jobs.rows import job_values, read_job, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One time that somebody asked for a song. It claims the job that answers it, and owes a webhook of its own.

    `content` names the song: 64 hex digits, a digest of its file. `name` is what this subject calls it. `model_reason`
    says, for people, why it is this model, where that isn't plain. `origin` is where the addresses in its webhook
    begin. `created_at` is a Unix time.
    """

    id: str
    subject: str = "local"
    content: str
    model: str
    model_reason: str | None = None
    name: str
    callback_url: str | None = None
    origin: str
    created_at: float


class SubmissionStore(Protocol):
    """Submissions, and the jobs they claim. One method is one transaction; it is done when the method returns.

    A change runs to its end also when its caller is cancelled. A full disk raises DiskFull, a broken store
    InternalError. Submissions go with their job, and their webhooks with them.
    """

    async def submit(self, job: Job, submission: Submission) -> tuple[Job, bool]:
        """Claim the job that answers the request, and say whether that is `job`, which was written for it.

        Otherwise it is one of the same kind, subject and fingerprint: one that waits or runs and isn't being
        cancelled, else the newest, if it is Completed, none of its tracks was removed, and somebody still claims it.
        Of one that has ended the webhook is owed at once. What belongs to `job` alone, like its source, is then for
        the caller to remove. However many ask at once, one job is written.
        Raises ValueError for a job without fingerprint, Conflict when one of the ids is taken.
        """

    async def latest(self, content: str, subject: str, model: str | None = None) -> Job | None:
        """Give the job that stands for a song, of this model if one is named.

        What waits or runs goes first, then whatever was asked for last. One that is being cancelled goes by when it
        was asked for, too.
        """

    async def latest_completed(self, content: str, subject: str, model: str | None = None) -> Job | None:
        """Give the job whose tracks are served: of those that are Completed the one that was asked for last."""

    async def jobs_of(self, content: str, subject: str) -> list[Job]:
        """List all jobs of a song, that which was asked for last first."""

    async def submission_of(self, job_id: str, subject: str) -> Submission | None:
        """Give the newest submission of this subject that the job answers."""

    async def name_of(self, job_id: str, subject: str) -> str | None:
        """Give what the subject called the song when it last asked for this job."""

    async def remove_track(self, job_id: str, subject: str, track: str) -> bool:
        """Note that a subject doesn't want this track any more; False when it was so before, or claims no such job."""

    async def removed_tracks(self, job_id: str, subject: str) -> frozenset[str]:
        """Name the tracks of a job that a subject has removed."""

    async def is_wanted(self, job_id: str, track: str) -> bool:
        """Say whether anybody claims the job and has not removed this track."""

    async def drop_claims(self, content: str, subject: str, model: str | None = None) -> list[str]:
        """Drop a subject's submissions of a song, and give the ids of the jobs that nobody claims any more.

        With `model` only those for this model. Jobs that wait or run stay claimed. From now on the others answer no
        new request, so their files can go, and then the jobs. Webhooks of what was dropped aren't sent any more.
        """

    async def unclaimed(self, kind: JobKind, limit: int) -> list[Job]:
        """List jobs that have ended and that nobody claims: a server died after it had dropped the claims on them."""


class SqliteSubmissions:
    """A SubmissionStore in the database of the jobs, usable while that is open. See SubmissionStore for promises."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    @uninterrupted
    async def submit(self, job: Job, submission: Submission) -> tuple[Job, bool]:
        if not job.fingerprint:
            raise ValueError("without a fingerprint nobody can say what is the same request")
        async with self._database.transaction() as transaction:
            found = await _find_answer(transaction, job)
            answer = found or await _insert(transaction, job)
            values = asdict(submission) | {"job": answer.id, "callback_host": host_of(submission.callback_url)}
            if not await transaction.run("insert_submission", values):
                raise Conflict(f"There is a submission {submission.id} already.")
            if answer.status.ended:
                await transaction.run("owe_at_once", {"id": submission.id})
        self._announce(answer, written=found is None)
        return answer, found is None

    def _announce(self, answer: Job, *, written: bool) -> None:
        if written:
            self._changes.announce(answer.id)
            self._changes.announce_work()
        if answer.status.ended:
            self._changes.announce_messages()

    async def latest(self, content: str, subject: str, model: str | None = None) -> Job | None:
        jobs = await self._jobs("get_standing", {"content": content, "subject": subject, "model": model})
        return jobs[0] if jobs else None

    async def latest_completed(self, content: str, subject: str, model: str | None = None) -> Job | None:
        jobs = await self._jobs("get_standing_completed", {"content": content, "subject": subject, "model": model})
        return jobs[0] if jobs else None

    async def jobs_of(self, content: str, subject: str) -> list[Job]:
        return await self._jobs("list_jobs_of_content", {"content": content, "subject": subject})

    async def submission_of(self, job_id: str, subject: str) -> Submission | None:
        rows = await self._database.read("get_submission", {"job": job_id, "subject": subject})
        return _read_submission(rows[0]) if rows else None

    async def name_of(self, job_id: str, subject: str) -> str | None:
        submission = await self.submission_of(job_id, subject)
        return None if submission is None else submission.name

    @uninterrupted
    async def remove_track(self, job_id: str, subject: str, track: str) -> bool:
        values = {"job": job_id, "subject": subject, "track": track}
        return bool(await self._database.change("remove_track", values))

    async def removed_tracks(self, job_id: str, subject: str) -> frozenset[str]:
        rows = await self._database.read("list_removed_tracks", {"job": job_id, "subject": subject})
        return frozenset(row["track"] for row in rows)

    async def is_wanted(self, job_id: str, track: str) -> bool:
        return bool(await self._database.read("find_want", {"job": job_id, "track": track}))

    @uninterrupted
    async def drop_claims(self, content: str, subject: str, model: str | None = None) -> list[str]:
        values = {"content": content, "subject": subject, "model": model}
        async with self._database.transaction() as transaction:
            dropped = await transaction.run("drop_claims", values)
            jobs = to_json([row["job"] for row in dropped])
            unclaimed = await transaction.run("list_unclaimed_of", {"jobs": jobs})
        return [row["id"] for row in unclaimed]

    async def unclaimed(self, kind: JobKind, limit: int) -> list[Job]:
        return await self._jobs("list_unclaimed", {"kind": kind, "limit": limit})

    async def _jobs(self, name: str, values: Mapping[str, Any]) -> list[Job]:
        return [read_job(row) for row in await self._database.read(name, values)]


async def _find_answer(transaction: Transaction, job: Job) -> Job | None:
    """Look for a job that answers the same request as this one."""
    request = {"kind": job.kind, "subject": job.subject, "fingerprint": job.fingerprint}
    rows = await transaction.run("find_unfinished", request) or await transaction.run("find_complete", request)
    return read_job(rows[0]) if rows else None


async def _insert(transaction: Transaction, job: Job) -> Job:
    rows = await transaction.run("insert_job", job_values(job))
    if not rows:
        raise Conflict(f"There is a job {job.id} already.")
    return read_job(rows[0])


def host_of(url: str | None) -> str | None:
    """Name the server that a webhook goes to, with its port. It was checked to be an address before."""
    return None if url is None else urlsplit(url).netloc.lower()


def _read_submission(row: Row) -> Submission:
    return Submission(**{field.name: row[field.name] for field in fields(Submission)})
