"""The job store of one machine: a SQLite file."""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamsrv.errors import Conflict
from streamsrv.jobs.changes import Changes
from streamsrv.jobs.database import Database, uninterrupted
from streamsrv.jobs.job import Job, JobKind, JobStatus, Lease, LeaseLost, Priority, Segment
from streamsrv.jobs.outbox import SqliteOutbox
from streamsrv.jobs.progress import HeldProgress
from streamsrv.jobs.reader import SqliteJobReader
from streamsrv.jobs.results import SqliteResults
from streamsrv.jobs.rows import job_values, read_job, to_json
from streamsrv.jobs.submissions import SqliteSubmissions

LOST_UPLOAD = "The upload did not arrive completely."
GAVE_UP = "The server was interrupted too often while it worked on this job."
DISCARD_WAIT_SECONDS = 5.0  # stopping an encoder and removing its files takes a fraction of that


class SqliteJobStore(SqliteJobReader):
    """A JobStore in one SQLite file. Wake-ups reach only those who wait in this process. See JobStore for promises."""

    def __init__(
        self,
        path: Path,
        *,
        lease_seconds: float,
        ageing_seconds: float,
        max_attempts: int,
        max_restarts: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(Database(path), Changes(), ageing_seconds=ageing_seconds)
        # These are usable while this is open.
        self.results = SqliteResults(self._database)
        self.submissions = SqliteSubmissions(self._database, self._changes)
        self.outbox = SqliteOutbox(self._database, self._changes)
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._max_restarts = max_restarts
        self._clock = clock
        self._held = HeldProgress()

    async def open(self) -> None:
        """Open or make the database. Raises UnusableDatabase and leaves nothing open."""
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def submit(self, job: Job) -> Job:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DISCARD_WAIT_SECONDS
        while (submitted := await self._insert(job)) is None:
            taken, left = await self.get(job.id), deadline - loop.time()
            if taken is not None and (not _is_failed_upload(taken) or left <= 0):
                raise Conflict(f"There is a job {job.id} already.")
            if taken is not None and not taken.discarded:
                await self.wait_for_change(job.id, taken.revision, left)
        return submitted

    @uninterrupted
    async def _insert(self, job: Job) -> Job | None:
        async with self._database.transaction() as transaction:
            if job.fingerprint is not None and await transaction.run("find_unfinished", _request_of(job)):
                raise Conflict("A job for the same request waits or runs already.")
            freed = await transaction.run("take_out_failed_upload", {"id": job.id})
            # Who still watches the failed upload sees the revision go on.
            revision = freed[0]["revision"] + 1 if freed else job.revision
            rows = await transaction.run("insert_job", job_values(job) | {"revision": revision})
        return self._changed(rows)[0] if rows else None

    @uninterrupted
    async def submit_once(self, job: Job) -> Job:
        if not job.fingerprint:
            raise ValueError("without a fingerprint nobody can say what is the same request")
        async with self._database.transaction() as transaction:
            unfinished = await transaction.run("find_unfinished", _request_of(job))
            written = [] if unfinished else await transaction.run("insert_job", job_values(job))
        if unfinished:
            return read_job(unfinished[0])
        if not written:
            raise Conflict(f"There is a job {job.id} already.")
        return self._changed(written)[0]

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
        values = {"source": source, "source_bytes": source_bytes, "title": title, "priority": priority}
        rows = await self._change("accept", values | {"id": job_id, "options": to_json(options)})
        if not rows:
            job = await self._existing(job_id)
            raise Conflict("The job was cancelled." if job.cancel_requested else f"The job is {job.status} already.")
        return rows[0]

    async def refuse(self, job_id: str, error: str) -> Job | None:
        rows = await self._change("refuse", {"id": job_id, "error": error})
        return rows[0] if rows else None

    async def claim(self, kinds: Collection[JobKind], least: Priority = Priority.BACKGROUND) -> Lease | None:
        values = {"kinds": to_json(sorted(kinds)), "ageing_seconds": self._ageing_seconds, "least": least}
        return await self._lease("claim", values)

    async def claim_upload(self, job_id: str) -> Lease | None:
        return await self._lease("claim_upload", {"id": job_id})

    async def _lease(self, name: str, values: Mapping[str, Any]) -> Lease | None:
        token, until = secrets.token_hex(16), self._clock() + self._lease_seconds
        rows = await self._change(name, {**values, "token": token, "until": until})
        return Lease(job=rows[0], token=token, until=until) if rows else None

    @uninterrupted
    async def renew(self, lease: Lease) -> Lease:
        until = self._clock() + self._lease_seconds
        values = _proof(lease) | {"until": until, "progress": self._held.of(lease)}
        job = self._written(await self._database.change("renew", values))
        return Lease(job=job, token=lease.token, until=until)

    async def report(
        self,
        lease: Lease,
        *,
        progress: float | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Job:
        if progress is not None and result is None:
            held = self._held.hold(lease, progress, self._clock())
            if held is not None:
                return held
        return await self._report(lease, self._report_values(lease, progress, result))

    @uninterrupted
    async def _report(self, lease: Lease, values: Mapping[str, Any]) -> Job:
        return self._written(await self._database.change("report", values))

    @uninterrupted
    async def add_segments(
        self,
        lease: Lease,
        segments: Sequence[Segment],
        *,
        progress: float | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Job:
        values = self._report_values(lease, progress, result)
        try:
            async with self._database.transaction() as transaction:
                rows = await transaction.run("report", values)
                added = [asdict(segment) | {"job": row["sequence"]} for row in rows for segment in segments]
                await transaction.run_each("insert_segment", added)
        except sqlite3.IntegrityError as error:
            raise ValueError("a segment can't be published twice, and its number is 0 or more") from error
        return self._written(rows)

    @uninterrupted
    async def drop_segments(self, lease: Lease, *, result: Mapping[str, Any] | None = None) -> Job:
        async with self._database.transaction() as transaction:
            rows = await transaction.run("report", self._report_values(lease, None, result))
            if rows:
                await transaction.run("delete_segments", {"id": lease.job.id})
        return self._written(rows)

    async def finish(
        self,
        lease: Lease,
        status: JobStatus,
        *,
        error: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Job:
        if not status.ended:
            raise ValueError(f"{status} is not an end")
        values = _proof(lease) | {"status": status, "error": error, "result": to_json(result)}
        rows = await self._change("finish", values)
        if not rows:
            await self.renew(lease)  # which says whether the lease was the reason
            raise ValueError("a job can't be completed before its upload was accepted")
        return rows[0]

    async def release(self, lease: Lease, error: str) -> Job:
        values = _proof(lease) | {"error": error, "max_attempts": self._max_attempts}
        return _still_leased(await self._change("release", values))

    async def put_back(self, lease: Lease) -> Job:
        return _still_leased(await self._change("put_back", _proof(lease)))

    async def recover(self) -> list[Job]:
        values = {"lost_upload": LOST_UPLOAD, "gave_up": GAVE_UP, "max_restarts": self._max_restarts}
        return [job for job in await self._change("recover", values) if job.status.ended]

    async def expire(self, alive: Collection[str] = ()) -> int:
        values = {"alive": to_json(sorted(alive)), "gave_up": GAVE_UP, "max_restarts": self._max_restarts}
        return len(await self._change("expire", values))

    @uninterrupted
    async def mark_discarded(self, job_id: str) -> None:
        async with self._database.transaction() as transaction:
            rows = await transaction.run("mark_discarded", {"id": job_id})
            if rows:
                await transaction.run("delete_segments", {"id": job_id})
        self._changed(rows)

    async def wait_for_work(self, timeout: float) -> None:
        await self._changes.wait_for_work(timeout)

    async def request_cancel(self, job_id: str) -> Job:
        rows = await self._change("request_cancel", {"id": job_id})
        return rows[0] if rows else await self._existing(job_id)

    @uninterrupted
    async def retire(self, job_id: str, before: float) -> bool:
        async with self._database.transaction() as transaction:
            await transaction.run("retire", {"id": job_id, "moment": before})
            return not await transaction.run("find_claim", {"id": job_id})

    async def remove(self, job_id: str) -> Job | None:
        rows = await self._change("remove", {"id": job_id})
        if not rows and await self.get(job_id) is not None:
            raise Conflict("The job has not ended yet.")
        return rows[0] if rows else None

    @uninterrupted
    async def _change(self, name: str, values: Mapping[str, Any]) -> list[Job]:
        """Commit one statement; the jobs it returns are those it changed."""
        return self._changed(await self._database.change(name, {**values, "now": self._clock()}))

    def _changed(self, rows: Iterable[sqlite3.Row]) -> list[Job]:
        jobs = [read_job(row) for row in rows]
        for job in jobs:
            self._seen.forget(job.id)
            self._changes.announce(job.id)
            if job.status is not JobStatus.PROCESSING:
                self._held.forget(job.id)
                self._changes.announce_work()
            if job.status.ended:
                self._changes.announce_messages()
        return jobs

    def _written(self, rows: Iterable[sqlite3.Row]) -> Job:
        job = _still_leased(self._changed(rows))
        self._held.written(job, self._clock())
        return job

    def _report_values(
        self,
        lease: Lease,
        progress: float | None,
        result: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        most = max(self._held.of(lease), min(progress or 0.0, 100.0))
        return _proof(lease) | {"progress": most, "result": to_json(result)}


def _proof(lease: Lease) -> dict[str, Any]:
    return {"id": lease.job.id, "token": lease.token}


def _request_of(job: Job) -> dict[str, Any]:
    return {"kind": job.kind, "subject": job.subject, "fingerprint": job.fingerprint}


def _still_leased(jobs: Sequence[Job]) -> Job:
    if not jobs:
        raise LeaseLost
    return jobs[0]


def _is_failed_upload(job: Job) -> bool:
    return job.status is JobStatus.FAILED and job.accepted_at is None
