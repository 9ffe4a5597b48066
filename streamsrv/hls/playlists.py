"""The playlists of a job, rendered from its rows once for each change of it: those of a long song take a while."""

import asyncio
from collections.abc import Callable, Sequence

from streamsrv.jobs.job import Job, JobStatus, Segment
from streamsrv.jobs.store import JobStore
from streamsrv.media.formats import CODECS
from streamsrv.media.playlist import Entry, bandwidth, render_event, render_master, render_vod
from streamsrv.web.segments import HotFiles


class Playlists:
    """Renders playlists, in a thread, and keeps them in `hot`. A job's target duration is that of its first attempt."""

    def __init__(self, store: JobStore, hot: HotFiles) -> None:
        self._store = store
        self._hot = hot

    async def index(self, job: Job) -> bytes:
        return await self._rendered(job, "index.m3u8", _index)

    async def live(self, job: Job) -> bytes:
        return await self._rendered(job, "live.m3u8", _live)

    async def master(self, job: Job) -> bytes:
        return await self._rendered(job, "master.m3u8", _master)

    async def _rendered(self, job: Job, name: str, render: Callable[[Job, Sequence[Segment]], str]) -> bytes:
        async def load() -> bytes:
            rows = await self._store.segments(job.id)
            return (await asyncio.to_thread(render, job, rows)).encode()

        # With the time of its making, since an id can come back after an upload that failed.
        return await self._hot.get(f"hls/{job.id}/{name} {job.created_at} {job.revision}", load) or b""


def _index(job: Job, rows: Sequence[Segment]) -> str:
    init, entries = _entries(rows)
    return render_vod(entries, init=init, segment_seconds=job.result["segment_seconds"])


def _live(job: Job, rows: Sequence[Segment]) -> str:
    init, entries = _entries(rows)
    ended = job.status is JobStatus.COMPLETED
    return render_event(entries, init=init, segment_seconds=job.result["segment_seconds"], ended=ended)


def _master(job: Job, rows: Sequence[Segment]) -> str:
    codec = CODECS[job.result["codec"]]
    peak, average = bandwidth((row.size, row.seconds) for row in rows)
    return render_master("live.m3u8", codecs=codec.rfc6381, bandwidth_bps=peak, average_bps=average)


def _entries(rows: Sequence[Segment]) -> tuple[str | None, list[Entry]]:
    """Split rows into the name of the initialisation section, if there is one, and the media segments."""
    init = next((row.name for row in rows if row.number == 0), None)
    return init, [Entry(row.name, row.seconds) for row in rows if row.number > 0]
