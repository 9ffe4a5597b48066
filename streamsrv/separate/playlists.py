"""The playlists of a song's stems, rendered from the job's rows once for each change of it."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from urllib.parse import quote

from streamsrv.jobs.job import Job, JobStatus, Segment
from streamsrv.jobs.store import JobStore
from streamsrv.media.formats import CODECS
from streamsrv.media.playlist import Entry, Rendition, bandwidth, render_event, render_renditions
from streamsrv.separate.encoders import SEGMENT_SECONDS
from streamsrv.separate.publisher import INIT_NAME, segment_name
from streamsrv.web.segments import HotFiles


class StemPlaylists:
    """Renders playlists, in a thread, and keeps them in `hot`. Their segments lie in a folder of the job's name.

    So a song that is separated anew never changes what is behind an address.
    """

    def __init__(self, store: JobStore, hot: HotFiles) -> None:
        self._store = store
        self._hot = hot

    async def master(self, job: Job, tracks: Sequence[str]) -> bytes:
        """All tracks as renditions of one presentation."""

        async def load() -> bytes:
            rows = await self._store.segments(job.id)
            return (await asyncio.to_thread(_master, job, rows, tracks)).encode()

        return await self._hot.get(f"stems/{job.id}/master {job.revision} {','.join(tracks)}", load) or b""

    async def track(self, job: Job, track: str) -> bytes:
        async def load() -> bytes:
            rows = await self._store.segments_in(job.id, track)
            return (await asyncio.to_thread(_track, job, rows, track)).encode()

        return await self._hot.get(f"stems/{job.id}/{track} {job.revision}", load) or b""


def _track(job: Job, rows: Sequence[Segment], track: str) -> str:
    entries = [Entry(f"{job.id}/{name}", row.seconds) for row, name in _of_track(rows, track) if name != INIT_NAME]
    ended = job.status is JobStatus.COMPLETED
    return render_event(entries, init=f"{job.id}/{INIT_NAME}", segment_seconds=SEGMENT_SECONDS, ended=ended)


def _master(job: Job, rows: Sequence[Segment], tracks: Sequence[str]) -> str:
    sizes: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        sizes[row.name.partition("/")[0]].append((row.size, row.seconds))
    rates = [bandwidth(sizes[track]) for track in tracks]
    query = f"?model={quote(job.options['model'], safe='')}"
    return render_renditions(
        [Rendition(track, f"{track}/index.m3u8{query}") for track in tracks],
        codecs=CODECS["flac"].rfc6381,
        bandwidth_bps=max(peak for peak, _ in rates),
        average_bps=max(average for _, average in rates),
    )


def _of_track(rows: Sequence[Segment], track: str) -> list[tuple[Segment, str]]:
    begin = segment_name(track, "")
    return [(row, row.name.removeprefix(begin)) for row in rows if row.name.startswith(begin)]
