"""One attempt at a song: stems come in, tracks are encoded, published and checked."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsrv.errors import InternalError
from streamsrv.jobs.assignment import Assignment
from streamsrv.jobs.job import Segment
from streamsrv.media.arguments import Pcm
from streamsrv.media.checks import check_published
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.tools import FfmpegTools
from streamsrv.separate.downloads import segments_samples
from streamsrv.separate.encoders import TrackEncoder, segment_encoding
from streamsrv.separate.output import Output, Replay, published_tracks
from streamsrv.separate.overlap import Pass
from streamsrv.separate.publisher import StemPublisher, segment_name
from streamsrv.separate.separation import Separation
from streamsrv.separate.tape import Tape
from streamsrv.separate.tracks import Clip, Mixdown
from streamsrv.storage.storage import Storage
from streamsrv.tasks import first_error


class Making:
    """Makes all tracks of a song in `folder`, below the storage key `prefix`.

    The encoders begin at the song's start in any case: with what was `published` before, which is decoded again, and so
    comes out as it was. Only behind that the song is separated.
    """

    def __init__(
        self,
        assignment: Assignment,
        storage: Storage,
        tools: FfmpegTools,
        *,
        pcm: Pcm,
        mixdown: Mixdown,
        clip: Clip,
        folder: Path,
        prefix: str,
        max_seconds: float,
        published: Sequence[Segment],
    ) -> None:
        self._assignment = assignment
        self._storage = storage
        self._tools = tools
        self._pcm = pcm
        self._mixdown = mixdown
        self._clip = clip
        self._folder = folder
        self._prefix = prefix
        self._max_seconds = max_seconds
        self._published = published
        self._encoding = segment_encoding(pcm)
        self.clipped: Mapping[str, int] = {}

    async def make(self, separation: Separation, tape: Tape, passes: Sequence[Pass], samples: int) -> None:
        """Make, check and store everything of a song of so many samples."""
        names = self._mixdown.names
        publisher = StemPublisher(
            self._assignment,
            self._storage,
            self._encoding,
            tracks=names,
            folder=self._folder,
            prefix=self._prefix,
            published=self._published,
        )
        encoders = [
            TrackEncoder(self._tools, self._folder / name, self._pcm, max_seconds=self._max_seconds) for name in names
        ]
        result = self._assignment.job.result
        clipped, counted = result.get("clipped", {}), result.get("clip_counted", 0)
        output = Output(encoders, self._mixdown, self._clip, clipped=clipped, counted=counted)
        outcomes = await _follow(encoders, publisher, self._write(output, separation, tape, passes, samples))
        for outcome, counted_segments in zip(outcomes, publisher.counted, strict=True):
            check_published(outcome, counted_segments, self._encoding)
            if outcome.encoded_samples != samples:
                raise InternalError("A track is shorter than its song.")
        await self._storage.put_all(
            [
                (f"{self._prefix}/{segment_name(name, 'track.mp3')}", encoder.mp3)
                for name, encoder in zip(names, encoders, strict=True)
            ]
        )
        self.clipped = output.clipped

    async def _write(
        self, output: Output, separation: Separation, tape: Tape, passes: Sequence[Pass], samples: int
    ) -> None:
        """Hand all of the song to the encoders."""
        tracks = published_tracks(self._published, self._mixdown.names)
        since = segments_samples(tracks[0], self._pcm.sample_rate)
        if since:
            await Replay(self._tools, self._storage, self._pcm, self._folder).write(tracks, output)

        async def emit(stems: NDArray[np.float32]) -> None:
            await output.write_stems(stems)
            await self._report(output, separation, samples)

        if since < samples:
            await separation.run(tape, passes, since, emit)
        await tape.check_end()
        await self._assignment.report(phase="finishing")
        await output.end()

    async def _report(self, output: Output, separation: Separation, samples: int) -> None:
        progress = min(99.0, 100 * output.position / samples)
        found: dict[str, Any] = {}
        if output.clipped != self._assignment.job.result.get("clipped", {}):
            found |= {"clipped": output.clipped, "clip_counted": output.counted}
        if sorted(separation.devices) != self._assignment.job.result.get("devices"):
            found["devices"] = sorted(separation.devices)
        await self._assignment.report(progress, **found)


async def _follow(
    encoders: Sequence[TrackEncoder], publisher: StemPublisher, writing: Coroutine[Any, Any, None]
) -> list[Outcome]:
    """Publish what the encoders finish while `writing` goes on; gives how they ended."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writing)
            follows = [
                tasks.create_task(encoder.follow(partial(publisher.add, number)))
                for number, encoder in enumerate(encoders)
            ]
    except BaseExceptionGroup as group:
        raise first_error(group) from group
    return [follow.result() for follow in follows]
