"""Do the job: decode an upload, growing or whole, encode it and publish its segments."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from streamsrv.errors import InternalError, Problem
from streamsrv.hls.profiles import encoding_for
from streamsrv.hls.publisher import Publisher
from streamsrv.hls.schema import StreamOptions
from streamsrv.jobs.assignment import Assignment
from streamsrv.jobs.job import Job
from streamsrv.jobs.store import JobStore
from streamsrv.media.arguments import Encoding, Input, hls_arguments
from streamsrv.media.checks import check_declared_length, check_outcome, check_published
from streamsrv.media.child import ChildLimits
from streamsrv.media.declared import Declared, declared, xing_header
from streamsrv.media.ffmpeg import Ffmpeg
from streamsrv.media.playlist import finished_segment
from streamsrv.media.probe import Source, probe
from streamsrv.media.sniff import HEAD_BYTES, id3_length, sniff
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.spool import Spool, SpoolAborted, Spools
from streamsrv.storage.storage import Storage

log = structlog.get_logger()

_TICK_SECONDS = 0.5
_UPLOADS = "uploads"


@dataclass(frozen=True, slots=True)
class Material:
    """What one attempt reads: a whole file by its path, or a growing one through `feed`, with what its start tells."""

    input: Input
    source: Source
    declared: Declared | None
    feed: AsyncIterator[bytes] | None = None


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
    ) -> None:
        self._store = store
        self._storage = storage
        self._spools = spools
        self._tools = tools
        self._segment_seconds = segment_seconds
        self._max_seconds = max_seconds

    async def run(self, assignment: Assignment) -> Mapping[str, Any]:
        """Make the job's segments, while its upload arrives where that is possible."""
        job = assignment.job
        spool = self._spools.get(job.id) if job.accepted_at is None else None
        if spool is not None:
            live = await self._run_live(assignment, spool)
            job = await assignment.accepted()
            if live is not None and job.options == assignment.job.options:
                return live
        return await self._run_whole(assignment, job)

    async def settle(self, job: Job) -> None:
        """Remove what a completed job no longer needs: its upload."""
        await self._storage.remove(source_key(job.id))

    async def discard(self, job: Job) -> None:
        """Remove every file of the job."""
        await self._storage.remove(source_key(job.id))
        await self._storage.remove(output_key(job.id))

    async def sweep(self) -> None:
        """At start-up: remove uploads that a killed server left and no job needs."""
        for job_id in await self._storage.names(_UPLOADS):
            job = await self._store.get(job_id)
            if job is None or job.status.ended:
                await self._storage.remove(source_key(job_id))

    async def _run_live(self, assignment: Assignment, spool: Spool) -> Mapping[str, Any] | None:
        """Encode the upload as it grows; None where that failed, and the whole file has to decide."""
        job = assignment.job
        async with self._storage.scratch(f"{job.id}.{job.attempt}.live") as folder:
            try:
                material = await self._growing_material(spool, folder)
                return await self._encode(assignment, job, material, folder, f"{job.attempt}.live")
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
            material = await self._whole_material(path)
            return await self._encode(assignment, job, material, folder, f"{job.attempt}")

    async def _whole_material(self, path: Path) -> Material:
        source = await probe(self._tools, path)
        head = await asyncio.to_thread(_read_head, path)
        return Material(Input(path=path), source, declared(head, source))

    async def _growing_material(self, spool: Spool, folder: Path) -> Material:
        head = await spool.head(HEAD_BYTES)
        if id3_length(head) > 0:
            head = await spool.head(id3_length(head) + HEAD_BYTES)
        container = sniff(head)
        if container is None or not container.pipeable:
            raise InternalError("This container can't be decoded while it arrives.")
        # The spool's own name goes to storage when the upload ends; this one stays as long as it is read.
        link = folder / "source"
        await asyncio.to_thread(os.link, spool.path, link)
        source = await probe(self._tools, link, demuxer=container.demuxer)
        xing = xing_header(head) if container.name == "mp3" else None
        # From a pipe ffmpeg plays the encoder's padding, too; from a file it leaves it out.
        end = xing.samples if xing is not None and xing.trimmed else None
        return Material(
            Input(demuxer=container.demuxer, end_sample=end), source, declared(head, source), spool.chunks()
        )

    async def _encode(
        self, assignment: Assignment, job: Job, material: Material, folder: Path, attempt: str
    ) -> Mapping[str, Any]:
        check_declared_length(material.declared, self._max_seconds)
        profile = StreamOptions.model_validate(job.options).profile()
        encoding = encoding_for(profile, material.source)
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
        async with self._child(material, encoding, folder) as child:
            await self._follow(child, publisher, assignment, material, encoding)
            outcome = await child.outcome()
        check_outcome(
            outcome,
            source_rate=material.source.sample_rate,
            encoding=encoding,
            declared=material.declared,
            max_seconds=self._max_seconds,
        )
        check_published(outcome, publisher.counted, encoding)
        return {"duration_seconds": outcome.encoded_samples / encoding.sample_rate}

    def _child(self, material: Material, encoding: Encoding, folder: Path) -> Ffmpeg:
        argv = hls_arguments(
            self._tools.ffmpeg,
            material.input,
            encoding,
            folder=folder,
            segment_seconds=self._segment_seconds,
            max_seconds=self._max_seconds,
        )
        readable = () if material.input.path is None else (material.input.path,)
        limits = ChildLimits(cpu_seconds=60 + int(self._max_seconds))
        return Ffmpeg(self._tools, argv, folder=folder, readable=readable, feed=material.feed, limits=limits)

    async def _follow(
        self, child: Ffmpeg, publisher: Publisher, assignment: Assignment, material: Material, encoding: Encoding
    ) -> None:
        """Publish what the child finishes until it ends, and report how far it is."""
        while (lines := await child.read_lines(_TICK_SECONDS)) is not None:
            progress = _progress(child, assignment.job, material)
            numbers = [number for line in lines if (number := finished_segment(line)) is not None]
            if numbers:
                await publisher.add(numbers, progress=progress)
            else:
                await assignment.report(progress=progress)


def source_key(job_id: str) -> str:
    return f"{_UPLOADS}/{job_id}"


def output_key(job_id: str) -> str:
    return f"hls/{job_id}"


def _progress(child: Ffmpeg, job: Job, material: Material) -> float | None:
    """Percent done: of the bytes that are to come while uploading, else of the file's length."""
    if material.feed is not None:
        return min(99.0, 100 * child.fed_bytes / job.source_bytes) if job.source_bytes else None
    length = material.declared.seconds if material.declared else material.source.duration_seconds
    return min(99.0, 100 * child.out_seconds / length) if length else None


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        return head + file.read(id3_length(head))
