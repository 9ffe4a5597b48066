"""Store and list segments as ffmpeg finishes them, each of them once, whatever attempt made it."""

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


class Publisher:
    """Turns finished files of `folder` into published segments of a job.

    After a crash the next attempt makes the same segments again: those that were listed stay as they were served, and
    only what is missing is added. Should an attempt come out differently (another ffmpeg, other options), what was
    listed goes and the presentation starts anew. `published`: the rows that are there; `prefix`: the storage key of
    this attempt.
    """

    def __init__(
        self,
        assignment: Assignment,
        storage: Storage,
        encoding: Encoding,
        *,
        folder: Path,
        prefix: str,
        published: Sequence[Segment],
    ) -> None:
        self._assignment = assignment
        self._storage = storage
        self._encoding = encoding
        self._folder = folder
        self._prefix = prefix
        self._published: Mapping[int, Segment] = {segment.number: segment for segment in published}
        self._made: list[Segment] = []
        self._sum = SegmentSum(encoding)

    @property
    def counted(self) -> Counted:
        """What all segments hold together."""
        return self._sum.counted

    async def add(self, numbers: Sequence[int], *, progress: float | None) -> None:
        """Publish the finished segments of these numbers. InternalError where one isn't whole, or DiskFull."""
        made = await asyncio.to_thread(self._examine, numbers)
        if any(segment.number in self._published and _differs(segment, self._published) for segment in made):
            await self._assignment.unpublish(segment_count=None)
            self._published = {}
            made = [*self._made, *made]
            self._made = []
        self._made += made
        new = [segment for segment in made if segment.number not in self._published]
        if new:
            await self._storage.put_all([(segment.key, self._folder / segment.name) for segment in new])
            try:
                await self._assignment.publish(new, progress=progress, segment_count=self._made[-1].number)
            except DiskFull:
                # Nothing lists them, and the end of the job needs the space to be written down.
                for segment in new:
                    await self._storage.remove(segment.key)
                raise

    def _examine(self, numbers: Sequence[int]) -> list[Segment]:
        """Read each file through: is it whole, how long is it, what is its tag? Runs in a thread."""
        with full_disk_told_apart(self._folder):
            return self._read_through(numbers)

    def _read_through(self, numbers: Sequence[int]) -> list[Segment]:
        made = []
        if self._encoding.codec.segments == "fmp4" and not self._made:
            data = (self._folder / INIT_NAME).read_bytes()
            check_init_section(data)
            made.append(self._segment(0, INIT_NAME, data, 0.0))
        for number in numbers:
            name = f"segment_{number:05}{self._encoding.codec.segment_suffix}"
            data = (self._folder / name).read_bytes()
            if (counted := self._sum.add(data)) is not None:
                made.append(self._segment(number, name, data, counted.samples / self._encoding.sample_rate))
        return made

    def _segment(self, number: int, name: str, data: bytes, seconds: float) -> Segment:
        return Segment(
            number=number,
            name=name,
            key=f"{self._prefix}/{name}",
            size=len(data),
            etag=hashlib.sha256(data).hexdigest()[:32],
            seconds=seconds,
        )


def _differs(segment: Segment, published: Mapping[int, Segment]) -> bool:
    before = published[segment.number]
    return (before.name, before.etag) != (segment.name, segment.etag)
