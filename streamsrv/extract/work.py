"""The whole as a job: the audio of all clips through one encoder, so that lossy formats have no seams."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from streamsrv.errors import UnusableFile
from streamsrv.extract.opening import again_if_changed, hold_copies, opened_reel
from streamsrv.extract.progress import Progress
from streamsrv.extract.reel import Reel
from streamsrv.extract.schema import WholeRequest
from streamsrv.extract.sources import is_elsewhere
from streamsrv.extract.studio import Studio
from streamsrv.jobs.assignment import Assignment
from streamsrv.jobs.job import Job
from streamsrv.jobs.results import Result
from streamsrv.tasks import first_error

PRIORITY = 10
_TICK_SECONDS = 0.25


class ExtractWork:
    """The work of an extraction. Clips that were decoded before a crash aren't decoded again."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def run(self, assignment: Assignment) -> Mapping[str, Any]:
        """Make the file, unless it is there. What is wrong with a clip goes into the job's result, too."""
        request = WholeRequest.model_validate(dict(assignment.job.options))
        progress = Progress(len(request.video_files))
        async with _reporting(assignment, progress):
            return await again_if_changed(partial(self._run, assignment, request, progress))

    async def discard(self, job: Job) -> None:
        """Nothing is its own: files are kept by content, and go in their own time."""

    async def _run(self, assignment: Assignment, request: WholeRequest, progress: Progress) -> Mapping[str, Any]:
        sources = self._studio.sources
        async with AsyncExitStack() as held:
            if any(map(is_elsewhere, request.video_files)):
                async with assignment.aside():
                    await hold_copies(sources, request.video_files, held, progress.fetched)
            # What came just now is taken as it is: to ask its server again would be to wait for it with a slot.
            reel = await held.enter_async_context(
                opened_reel(self._studio, request, sources.kept, priority=PRIORITY, hashed=1)
            )
            kept = await self._find_or_make(assignment.job, request, reel, progress)
            stamps = [source.stamp for source in reel.sources]
            lost_seconds = kept.facts.get("lost_seconds", 0.0)
            found = {"duration_seconds": kept.facts["seconds"], "lost_seconds": lost_seconds}
            return {"file": kept.file, **found, "stamps": stamps}

    async def _find_or_make(self, job: Job, request: WholeRequest, reel: Reel, progress: Progress) -> Result:
        if reel.seconds > self._studio.max_seconds:
            raise UnusableFile(
                f"The clips are longer together than the {self._studio.max_seconds:g} seconds that one file may have."
                " Take them in segments."
            )
        progress.opened(reel.seconds)
        key = f"whole.{request.digest(job.subject).hex()}"
        kept = await self._studio.archive.find(key)
        if kept is None or kept.facts["sources"] != (await reel.digest(len(reel))).hex():
            kept = await self._make(job, request, reel, key, progress)
        return kept

    async def _make(self, job: Job, request: WholeRequest, reel: Reel, key: str, progress: Progress) -> Result:
        async with self._studio.storage.scratch(f"extract.{job.id}") as folder:
            made = await self._studio.encoder.encode(reel.read_all(), reel.grid, request.form, folder, progress.encoded)
            return await self._studio.archive.keep(
                made.path,
                made.sha256,
                key=key,
                subject=job.subject,
                request=request.brief(),
                facts={
                    "sources": (await reel.digest(len(reel))).hex(),
                    "seconds": made.samples / made.grid.sample_rate,
                    "lost_seconds": round(reel.lost_seconds, 3),
                },
            )


@asynccontextmanager
async def _reporting(assignment: Assignment, progress: Progress) -> AsyncIterator[None]:
    """Tell the job how far the block is, again and again."""

    async def report() -> None:
        while True:
            facts = progress.news()
            await assignment.report(progress.percent, **facts)
            await asyncio.sleep(_TICK_SECONDS)

    try:
        async with asyncio.TaskGroup() as tasks:
            reporting = tasks.create_task(report())
            yield
            reporting.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from group
