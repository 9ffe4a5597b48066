"""Do the job: a song becomes tracks, published while it is being separated."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsrv.errors import DeadlyTask, InternalError
from streamsrv.jobs.assignment import Assignment
from streamsrv.jobs.job import Job
from streamsrv.jobs.store import JobStore
from streamsrv.media.integrity.loss import TERMS
from streamsrv.media.tools import FfmpegTools
from streamsrv.separate.downloads import mp3_key, output_key, song_pcm
from streamsrv.separate.encoders import SEGMENT_SECONDS
from streamsrv.separate.listening import Listening
from streamsrv.separate.making import Making
from streamsrv.separate.model import describe
from streamsrv.separate.overlap import leads, passes_of
from streamsrv.separate.schema import Recipe
from streamsrv.separate.separation import Separation
from streamsrv.separate.settings import ModelInfo, ModelSpec
from streamsrv.separate.tracks import INSTRUMENTAL, Mixdown
from streamsrv.storage.storage import Storage
from streamsrv.workers.pool import DevicePool, WorkerDied

SOURCES = "songs"
# Of songs of one class the one that came first has the devices first.
_CLASS = 1 << 50
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """What songs are separated with: `pool` separates, `decoders` decode. `batch` windows go to a GPU at once."""

    tools: FfmpegTools
    storage: Storage
    pool: DevicePool
    decoders: DevicePool
    model_repo: Path | None
    download: bool
    batch: int
    max_seconds: float

    def spec(self, recipe: Recipe) -> ModelSpec:
        return ModelSpec(name=recipe.model, repo=self.model_repo, download=self.download, precision=recipe.precision)


class SeparateWork:
    """The work of a song. After a crash it goes on behind the last segment that was published."""

    def __init__(self, store: JobStore, studio: Studio) -> None:
        self._store = store
        self._studio = studio

    async def run(self, assignment: Assignment) -> Mapping[str, Any]:
        """Separate the song and publish its tracks. DeadlyTask where no process survives that."""
        try:
            return await self._run(assignment)
        except WorkerDied as error:
            # It was tried on several already; another attempt would only take more of them down.
            model = assignment.job.options["model"]
            raise DeadlyTask(f"Separating this song with {model} ends the process that does it, each time.") from error

    async def _run(self, assignment: Assignment) -> Mapping[str, Any]:
        studio, job = self._studio, assignment.job
        path = await studio.storage.locate(source_key(job.id))
        if path is None:
            raise InternalError("The song's file is gone.")
        recipe, priority = Recipe.of(job), _priority(job)
        await assignment.report(phase="loading")
        info = await studio.pool.run(priority, describe, studio.spec(recipe))
        mixdown = Mixdown(info.sources)
        await assignment.report(
            phase="measuring",
            tracks=list(mixdown.names),
            mixes=[name for name in mixdown.names if name == INSTRUMENTAL],
            sample_rate=info.sample_rate,
            channels=info.channels,
            segment_seconds=SEGMENT_SECONDS,
        )
        async with studio.storage.scratch(f"{job.id}.{job.attempt}") as folder:
            listening = _listening(studio, job, path, info)
            measured = await listening.measure(studio.decoders, priority, folder)
            await assignment.report(phase="separating", **measured.facts(info.sample_rate))
            separation = Separation(studio.pool, studio.spec(recipe), info, batch=studio.batch, priority=priority)
            silences = leads(job.options["song"], recipe.shifts, info.sample_rate)
            passes = passes_of(info.parts, silences, recipe.overlap, measured.samples)
            making = Making(
                assignment,
                studio.storage,
                studio.tools,
                pcm=song_pcm(info.sample_rate, info.channels),
                mixdown=mixdown,
                clip=recipe.clip,
                folder=folder,
                prefix=f"{output_key(job.id)}/{job.attempt}",
                max_seconds=studio.max_seconds,
                published=await self._store.segments(job.id),
            )
            async with listening.tape(measured, folder) as tape:
                await making.make(separation, tape, passes, measured.samples)
        return {"mp3_attempt": job.attempt, "clipped": making.clipped}

    async def settle(self, job: Job) -> None:
        """Remove what a completed job no longer needs: the song itself, and what killed attempts hadn't published."""
        storage = self._studio.storage
        await storage.remove(source_key(job.id))
        needed = {segment.key for segment in await self._store.segments(job.id)}
        needed |= {mp3_key(job, track) for track in job.result["tracks"]}
        for attempt in await storage.names(output_key(job.id)):
            for track in await storage.names(f"{output_key(job.id)}/{attempt}"):
                folder = f"{output_key(job.id)}/{attempt}/{track}"
                for key in {f"{folder}/{name}" for name in await storage.names(folder)} - needed:
                    await storage.remove(key)

    async def discard(self, job: Job) -> None:
        """Remove every file of the job."""
        await self._studio.storage.remove(source_key(job.id))
        await self._studio.storage.remove(output_key(job.id))

    async def sweep(self) -> None:
        """At start-up: remove songs that a killed server left and no job needs."""
        for job_id in await self._studio.storage.names(SOURCES):
            job = await self._store.get(job_id)
            if job is None or job.status.ended:
                await self._studio.storage.remove(source_key(job_id))


def source_key(job_id: str) -> str:
    return f"{SOURCES}/{job_id}"


def _listening(studio: Studio, job: Job, path: Path, info: ModelInfo) -> Listening:
    terms = TERMS[Recipe.of(job).errors]
    return Listening(studio.tools, path, info, name=job.source_name, terms=terms, max_seconds=studio.max_seconds)


def _priority(job: Job) -> int:
    return int(job.priority) * _CLASS + int((job.accepted_at or 0) * _MILLISECONDS)
