"""The tracks of one song on their way out: stems are mixed, made 16-bit and handed to the encoders of their tracks."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamsrv.errors import InternalError, MissingModel
from streamsrv.jobs.job import Segment
from streamsrv.media.arguments import Input, Pcm, pcm_arguments
from streamsrv.media.child import ChildLimits
from streamsrv.media.decoder import Decoder
from streamsrv.media.tools import FfmpegTools
from streamsrv.separate.downloads import segments_samples, stored_parts
from streamsrv.separate.encoders import TrackEncoder
from streamsrv.separate.publisher import segment_name
from streamsrv.separate.tracks import Clip, Mixdown, to_pcm
from streamsrv.storage.storage import Storage

_REPLAYED_SECONDS = 5


class Output:
    """Writes to all encoders at once; `position` is the sample that comes next.

    `clipped` counts, for each track, the samples beyond full scale up to the sample `counted`.
    """

    def __init__(
        self,
        encoders: Sequence[TrackEncoder],
        mixdown: Mixdown,
        clip: Clip,
        *,
        clipped: Mapping[str, int],
        counted: int,
    ) -> None:
        self.position = 0
        self.clipped = {name: clipped.get(name, 0) for name in mixdown.names}
        self.counted = counted
        self._encoders = encoders
        self._mixdown = mixdown
        self._clip = clip

    async def write_stems(self, stems: NDArray[np.float32]) -> None:
        """Take float32 [source, channel, sample]; waits while the encoders are behind.

        Raises MissingModel for samples that aren't numbers: nobody would hear what they are made of.
        """
        start, self.position = self.position, self.position + stems.shape[-1]
        uncounted = min(max(0, self.counted - start), stems.shape[-1])
        blocks, beyond = await asyncio.to_thread(self._convert, stems, uncounted)
        if any(beyond):
            self.counted = max(self.counted, self.position)
            for name, count in zip(self._mixdown.names, beyond, strict=True):
                self.clipped[name] += count
        await self.write(blocks)

    def _convert(self, stems: NDArray[np.float32], uncounted: int) -> tuple[list[bytes], list[int]]:
        tracks = self._mixdown.tracks(stems)
        if not np.isfinite(tracks).all():
            raise MissingModel("The model makes samples of this song that aren't numbers; its weights may be damaged.")
        beyond = np.count_nonzero(np.abs(tracks[..., uncounted:]) > 1.0, axis=(1, 2))
        return [to_pcm(track, self._clip) for track in tracks], [int(count) for count in beyond]

    async def write(self, blocks: Sequence[bytes]) -> None:
        """Take the same stretch of each track as interleaved 16-bit samples."""
        for encoder, block in zip(self._encoders, blocks, strict=True):
            await encoder.write(block)

    async def end(self) -> None:
        for encoder in self._encoders:
            await encoder.end()


class Replay:
    """Reads what was published of a song before, so that the encoders can begin at its start again."""

    def __init__(self, tools: FfmpegTools, storage: Storage, pcm: Pcm, folder: Path) -> None:
        self._tools = tools
        self._storage = storage
        self._pcm = pcm
        self._folder = folder

    async def write(self, tracks: Sequence[Sequence[Segment]], output: Output) -> None:
        """Write the samples of these segments, of all tracks in `output`'s order. InternalError where some are gone."""
        left = segments_samples(tracks[0], self._pcm.sample_rate)
        async with AsyncExitStack() as stack:
            decoders = [await stack.enter_async_context(self._decoding(segments)) for segments in tracks]
            while left:
                count = min(left, _REPLAYED_SECONDS * self._pcm.sample_rate)
                wanted = count * self._pcm.frame_bytes
                blocks = [await decoder.read(wanted) for decoder in decoders]
                if any(len(block) < wanted for block in blocks):
                    raise InternalError("Published segments can't be decoded.")
                await output.write(blocks)
                output.position += count
                left -= count

    @asynccontextmanager
    async def _decoding(self, segments: Sequence[Segment]) -> AsyncIterator[Decoder]:
        argv = pcm_arguments(
            self._tools.ffmpeg,
            Input(demuxer="mov"),
            track=0,
            pcm=self._pcm,
            max_samples=segments_samples(segments, self._pcm.sample_rate),
        )
        feed = stored_parts(self._storage, segments)
        async with Decoder(self._tools, argv, folder=self._folder, feed=feed, limits=ChildLimits()) as decoder:
            yield decoder


def published_tracks(rows: Sequence[Segment], names: Sequence[str]) -> list[list[Segment]]:
    """The segments of each track, the initialisation section first. Pure."""
    return [[row for row in rows if row.name.startswith(segment_name(name, ""))] for name in names]
