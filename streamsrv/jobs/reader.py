"""The reading half of the SQLite job store. Reads see only what was committed, and never wait for a write."""

import asyncio
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from streamsrv.errors import BadParameter, NotFound
from streamsrv.jobs.changes import Changes
from streamsrv.jobs.database import Database
from streamsrv.jobs.job import Job, JobKind, JobStatus, Segment
from streamsrv.jobs.rows import read_job, read_segment, to_json
from streamsrv.jobs.seen import SeenSegments

# A cursor is the row's number, which only grows: rows that are added lie before every page that was given.
_CURSOR = re.compile(r"[0-9a-f]{1,15}", re.ASCII)
_SEEN_SEGMENTS = 20_000  # some 10 MB


class SqliteJobReader:
    """Everything that JobStore promises about reading and waiting."""

    def __init__(self, database: Database, changes: Changes, *, ageing_seconds: float) -> None:
        self._database = database
        self._changes = changes
        self._ageing_seconds = ageing_seconds
        self._seen = SeenSegments(_SEEN_SEGMENTS)

    async def get(self, job_id: str) -> Job | None:
        jobs = await self._jobs("get", {"id": job_id})
        return jobs[0] if jobs else None

    async def latest(self, kind: JobKind, subject: str, fingerprint: str) -> Job | None:
        jobs = await self._jobs("get_latest", {"kind": kind, "subject": subject, "fingerprint": fingerprint})
        return jobs[0] if jobs else None

    async def segments(self, job_id: str) -> list[Segment]:
        return [read_segment(row) for row in await self._database.read("list_segments", {"id": job_id})]

    async def segments_in(self, job_id: str, folder: str) -> list[Segment]:
        # "0" is the character behind "/".
        values = {"id": job_id, "first": f"{folder}/", "behind": f"{folder}0"}
        return [read_segment(row) for row in await self._database.read("list_segments_between", values)]

    async def segment(self, job_id: str, name: str) -> Segment | None:
        if (seen := self._seen.find(job_id, name)) is not None:
            return seen
        since = self._seen.changes
        rows = await self._database.read("get_segment", {"id": job_id, "name": name})
        if not rows:
            return None
        segment = read_segment(rows[0])
        self._seen.keep(job_id, segment, since=since)
        return segment

    async def page(
        self,
        *,
        subject: str = "local",
        kind: JobKind | None = None,
        statuses: Collection[JobStatus] = (),
        before: str | None = None,
        limit: int,
    ) -> tuple[list[Job], str | None]:
        if before is not None and not _CURSOR.fullmatch(before):
            raise BadParameter("The cursor of the next page is not one that this server gave.")
        values = {"subject": subject, "kind": kind, "statuses": to_json(sorted(statuses)), "limit": limit + 1}
        rows = await self._database.read("list_page", values | {"before": int(before, 16) if before else None})
        following = f"{rows[limit - 1]['sequence']:x}" if len(rows) > limit else None
        return [read_job(row) for row in rows[:limit]], following

    async def position(self, job_id: str) -> int | None:
        values = {"id": job_id, "ageing_seconds": self._ageing_seconds}
        rows = await self._database.read("count_position", values)
        return rows[0]["position"] or None

    async def count_waiting(self, kind: JobKind) -> int:
        rows = await self._database.read("count_waiting", {"kind": kind})
        return int(rows[0]["waiting"])

    async def ahead_of(self, job_id: str, limit: int) -> list[Job]:
        values = {"id": job_id, "ageing_seconds": self._ageing_seconds, "limit": limit}
        return await self._jobs("list_ahead", values)

    async def recent_completed(self, kind: JobKind, limit: int) -> list[Job]:
        return await self._jobs("list_recent_completed", {"kind": kind, "limit": limit})

    async def ended_before(self, moment: float, limit: int) -> list[Job]:
        return await self._jobs("list_ended_before", {"moment": moment, "limit": limit})

    async def to_discard(self, limit: int) -> list[Job]:
        return await self._jobs("list_to_discard", {"limit": limit})

    async def wait_for_change(self, job_id: str, after_revision: int, timeout: float) -> Job | None:
        with self._changes.watching(job_id) as changed, suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self._changed_job(job_id, after_revision, changed)
        return await self.get(job_id)

    async def _changed_job(self, job_id: str, after_revision: int, changed: asyncio.Event) -> Job | None:
        while True:
            changed.clear()
            job = await self.get(job_id)
            if job is None or job.revision > after_revision:
                return job
            await changed.wait()

    async def _jobs(self, name: str, values: Mapping[str, Any]) -> list[Job]:
        return [read_job(row) for row in await self._database.read(name, values)]

    async def _existing(self, job_id: str) -> Job:
        job = await self.get(job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id}.")
        return job
