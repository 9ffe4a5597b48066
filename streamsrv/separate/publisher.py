"""Segments of all tracks are published together: what can be played of one track can be played of all."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamsrv.errors import DiskFull
from streamsrv.files import full_disk_told_apart
from streamsrv.jobs.assignment import Assignment
from streamsrv.jobs.job import Segment
from streamsrv.media.arguments import Encoding
from streamsrv.media.checks import Counted, SegmentSum, check_init_section
from streamsrv.storage.storage import Storage

INIT_NAME = "init.mp4"
# Numbers are of a job's segments: those of the n-th piece of all tracks begin at n times this.
MAX_TRACKS = 64


def segment_number(piece: int, track: int) -> int:
    """Of the piece that is counted from 1, 0 being the initialisation section, of a track counted from 0."""
    return piece * MAX_TRACKS + track


def segment_name(track: str, name: str) -> str:
    return f"{track}/{name}"


class StemPublisher:
    """Turns finished files, in a folder for each track, into published segments of a job.

    After a crash the next attempt makes the same segments again: those that were listed stay as they were served, and
    only what is missing is added. Should they come out differently (another ffmpeg), what was listed goes and all of it
    is published anew. `published`: the rows that are there; `prefix`: the storage key of this attempt.
    """

    def __init__(
        self,
        assignment: Assignment,
        storage: Storage,
        encoding: Encoding,
        *,
        tracks: Sequence[str],
        folder: Path,
        prefix: str,
        published: Sequence[Segment],
    ) -> None:
        self._assignment = assignment
        self._storage = storage
        self._encoding = encoding
        self._tracks = tuple(tracks)
        self._folder = folder
        self._prefix = prefix
        self._published: Mapping[int, Segment] = {segment.number: segment for segment in published}
        self._made: list[Segment] = []
        self._finished = [0] * len(self._tracks)
        self._pieces = 0
        self._publishing = asyncio.Lock()
        self._sums = [SegmentSum(encoding) for _ in self._tracks]

    @property
    def counted(self) -> list[Counted]:
        """What all segments of each track hold together."""
        return [track.counted for track in self._sums]

    async def add(self, track: int, numbers: Sequence[int]) -> None:
        """Note that these segments of a track are finished, and publish the pieces that all tracks have now.

        Raises InternalError where one isn't whole, or DiskFull.
        """
        self._finished[track] = max(self._finished[track], *numbers)
        async with self._publishing:
            ready = range(self._pieces + 1, min(self._finished) + 1)
            if ready:
                await self._publish(ready)
                self._pieces = ready[-1]

    async def _publish(self, pieces: range) -> None:
        made = await asyncio.to_thread(self._examine, pieces)
        if any(self._differs(segment) for segment in made):
            await self._assignment.unpublish(segment_count=None)
            self._published = {}
            made = [*self._made, *made]
            self._made = []
        self._made += made
        new = [segment for segment in made if segment.number not in self._published]
        if new:
            await self._storage.put_all([(segment.key, self._folder / segment.name) for segment in new])
            try:
                await self._assignment.publish(new, segment_count=pieces[-1])
            except DiskFull:
                # Nothing lists them, and the end of the job needs the space to be written down.
                for segment in new:
                    await self._storage.remove(segment.key)
                raise

    def _differs(self, segment: Segment) -> bool:
        before = self._published.get(segment.number)
        return before is not None and (before.name, before.etag) != (segment.name, segment.etag)

    def _examine(self, pieces: range) -> list[Segment]:
        """Read each file through: is it whole, how long is it, what is its tag? Runs in a thread."""
        with full_disk_told_apart(self._folder):
            return [segment for track in range(len(self._tracks)) for segment in self._read_through(track, pieces)]

    def _read_through(self, track: int, pieces: range) -> list[Segment]:
        made = []
        if pieces[0] == 1:
            data = self._read(track, INIT_NAME)
            check_init_section(data)
            made.append(self._segment(0, track, INIT_NAME, data, 0.0))
        for piece in pieces:
            name = f"segment_{piece:05}{self._encoding.codec.segment_suffix}"
            data = self._read(track, name)
            if (counted := self._sums[track].add(data)) is not None:
                made.append(self._segment(piece, track, name, data, counted.samples / self._encoding.sample_rate))
        return made

    def _read(self, track: int, name: str) -> bytes:
        return (self._folder / self._tracks[track] / name).read_bytes()

    def _segment(self, piece: int, track: int, name: str, data: bytes, seconds: float) -> Segment:
        full_name = segment_name(self._tracks[track], name)
        return Segment(
            number=segment_number(piece, track),
            name=full_name,
            key=f"{self._prefix}/{full_name}",
            size=len(data),
            etag=hashlib.sha256(data).hexdigest()[:32],
            seconds=seconds,
        )
