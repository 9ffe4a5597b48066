"""Do the job: decode an upload, growing or whole, encode it and publish its segments."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from streamsrv.encoding.run import Progress
from streamsrv.encoding.segments import SegmentEncoder
from streamsrv.encoding.source import EncoderSource
from streamsrv.errors import InternalError, Problem
from streamsrv.hls.profiles import Profile, stream_encoding
from streamsrv.hls.publisher import Publisher
from streamsrv.hls.schema import StreamOptions
from streamsrv.jobs.assignment import Assignment
from streamsrv.jobs.job import Job
from streamsrv.jobs.store import JobStore
from streamsrv.media.checks import check_declared_length, check_published, check_samples
from streamsrv.media.integrity.loss import TERMS, Terms, check_size
from streamsrv.media.material import Material, check_whole, growing_material, whole_material
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.spool import Spool, SpoolAborted, Spools
from streamsrv.storage.storage import Storage

log = structlog.get_logger()

UPLOADS = "uploads"


class HlsWork:
    """The work of an HLS job. `run` makes the segments, `discard` removes every file of a job."""

    def __init__(
        self,
        *,
        store: JobStore,
        storage: Storage,
        spools: Spools,
        tools: FfmpegTools,
        segment_seconds: int,
        max_seconds: float,
        max_samples: int,
    ) -> None:
        self._store = store
        self._storage = storage
        self._spools = spools
        self._tools = tools
        self._segment_seconds = segment_seconds
        self._max_seconds = max_seconds
        self._max_samples = max_samples
        self._encoder = SegmentEncoder(tools, segment_seconds=segment_seconds, max_seconds=max_seconds)

    async def run(self, assignment: Assignment) -> Mapping[str, Any]:
        """Make the job's segments, while its upload arrives where that is possible."""
        job = assignment.job
        spool = self._spools.get(job.id) if job.accepted_at is None else None
        if spool is None:
            return await self._run_whole(assignment, job)
        live = await self._run_live(assignment, spool)
        accepted = await assignment.accepted()
        if live is not None and (_profile(accepted), _terms(accepted)) == (_profile(job), _terms(job)):
            return live
        return await self._run_whole(assignment, accepted)  # also where options behind the file say otherwise

    async def settle(self, job: Job) -> None:
        """Remove what a completed job no longer needs: its upload."""
        await self._storage.remove(source_key(job.id))

    async def discard(self, job: Job) -> None:
        """Remove every file of the job."""
        await self._storage.remove(source_key(job.id))
        await self._storage.remove(output_key(job.id))

    async def sweep(self) -> None:
        """At start-up: remove uploads that a killed server left and no job needs."""
        for job_id in await self._storage.names(UPLOADS):
            job = await self._store.get(job_id)
            if job is None or job.status.ended:
                await self._storage.remove(source_key(job_id))

    async def _run_live(self, assignment: Assignment, spool: Spool) -> Mapping[str, Any] | None:
        """Encode the upload as it grows; None where that failed, and the whole file has to decide."""
        job = assignment.job
        async with self._storage.scratch(f"{job.id}.{job.attempt}.live") as folder:
            try:
                material = await growing_material(self._tools, spool, folder, _terms(job))
                result = await self._encode(assignment, job, material, folder, f"{job.attempt}.live")
                check_size(material.promised_bytes, spool.size)  # what is missing the whole file tells
                await check_whole(self._tools, material)
                return result  # noqa: TRY300 - the checks belong to what may fail
            except (SpoolAborted, OSError) as error:
                log.info("live_attempt_ended", job_id=job.id, reason=repr(error))
            except Problem as problem:
                log.info("live_attempt_ended", job_id=job.id, reason=problem.detail)
        return None

    async def _run_whole(self, assignment: Assignment, job: Job) -> Mapping[str, Any]:
        path = await self._storage.locate(source_key(job.id))
        if path is None:
            raise InternalError("The upload's file is gone.")
        async with self._storage.scratch(f"{job.id}.{job.attempt}") as folder:
            material = await whole_material(self._tools, path, _terms(job), name=job.source_name)
            return await self._encode(assignment, job, material, folder, f"{job.attempt}")

    async def _encode(
        self, assignment: Assignment, job: Job, material: Material, folder: Path, attempt: str
    ) -> Mapping[str, Any]:
        check_declared_length(material.declared, self._max_seconds)
        check_samples(material.declared, material.source.sample_rate, material.source.channels, self._max_samples)
        encoding = stream_encoding(_profile(job), material.source)
        await assignment.report(
            codec=encoding.codec.name,
            bitrate=encoding.bitrate_bps,
            sample_rate=encoding.sample_rate,
            channels=encoding.channels,
            segment_seconds=self._segment_seconds,
            duration_seconds=material.source.duration_seconds if material.feed is None else None,
        )
        publisher = Publisher(
            assignment,
            self._storage,
            encoding,
            folder=folder,
            prefix=f"{output_key(job.id)}/{attempt}",
            published=await self._store.segments(job.id),
        )

        async def publish(numbers: Sequence[int], running: Progress) -> None:
            progress = _percent(running, job, material)
            if numbers:
                await publisher.add(numbers, progress=progress)
            else:
                await assignment.report(progress=progress)

        outcome = await self._encoder.encode(EncoderSource.of_material(material), encoding, folder, publish)
        check_published(outcome, publisher.counted, encoding)
        return {
            "duration_seconds": outcome.encoded_samples / encoding.sample_rate,
            "lost_seconds": round(outcome.lost_seconds, 3),
        }


def source_key(job_id: str) -> str:
    return f"{UPLOADS}/{job_id}"


def output_key(job_id: str) -> str:
    return f"hls/{job_id}"


def _profile(job: Job) -> Profile:
    return StreamOptions.model_validate(job.options).profile()


def _terms(job: Job) -> Terms:
    return TERMS[StreamOptions.model_validate(job.options).errors]


def _percent(running: Progress, job: Job, material: Material) -> float | None:
    """Percent done: of the bytes that are to come while uploading, else of the file's length."""
    if material.feed is not None:
        return min(99.0, 100 * running.fed_bytes / job.source_bytes) if job.source_bytes else None
    length = material.declared.seconds if material.declared else material.source.duration_seconds
    return min(99.0, 100 * running.out_seconds / length) if length else None
