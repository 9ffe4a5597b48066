"""Tracks leave through encoders while a song is being separated: as FLAC segments, and as one MP3 each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from streamsrv.encoding.files import FileEncoder
from streamsrv.encoding.options import EncodingOptions, encoding_for
from streamsrv.encoding.run import Progress
from streamsrv.encoding.segments import SegmentEncoder
from streamsrv.encoding.source import EncoderSource
from streamsrv.errors import InternalError
from streamsrv.files import disk_errors
from streamsrv.media.arguments import Encoding, Pcm
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.formats import FORMATS
from streamsrv.media.tools import FfmpegTools
from streamsrv.tasks import both

SEGMENT_SECONDS = 6

# Blocks that wait for an encoder: one that it takes, one that comes next.
_WAITING_BLOCKS = 2


def segment_encoding(pcm: Pcm) -> Encoding:
    return encoding_for(FORMATS["flac"], EncodingOptions(), pcm)


class TrackEncoder:
    """One track's encoders: `follow` them to their end, and meanwhile `write` samples, and `end`.

    Its segments appear in `folder`, its MP3 is `mp3`.
    """

    def __init__(self, tools: FfmpegTools, folder: Path, pcm: Pcm, *, max_seconds: float) -> None:
        self.folder = folder
        self.mp3 = folder / "track.mp3"
        self.written_bytes = 0
        self._pcm = pcm
        self._segments = SegmentEncoder(tools, segment_seconds=SEGMENT_SECONDS, max_seconds=max_seconds)
        self._files = FileEncoder(tools, max_seconds=max_seconds)
        self._feeds = (_Feed(), _Feed())

    async def write(self, data: bytes) -> None:
        """Hand over interleaved samples; waits while the encoders are behind."""
        self.written_bytes += len(data)
        for feed in self._feeds:
            await feed.put(data)

    async def end(self) -> None:
        for feed in self._feeds:
            await feed.put(b"")

    async def follow(self, finished: Callable[[Sequence[int]], Awaitable[None]]) -> Outcome:
        """Run both encoders to their end, telling of finished segments; gives how the segmenter ended.

        Raises DiskFull, and InternalError for any other failure, as soon as one of them is there: an encoder that has
        ended takes no more, and whoever writes would wait for ever. Whatever ends this, no child is left.
        """
        with disk_errors():
            await asyncio.to_thread(self.folder.mkdir)
        segmented, mp3 = await both(self._make_segments(finished), self._make_mp3())
        for outcome in (segmented, mp3):
            if outcome.decoded_samples != self.written_bytes // self._pcm.frame_bytes:
                raise InternalError("An encoder didn't take all samples.")
        return segmented

    async def _make_segments(self, finished: Callable[[Sequence[int]], Awaitable[None]]) -> Outcome:
        async def tell(numbers: Sequence[int], _progress: Progress) -> None:
            if numbers:
                await finished(numbers)

        source = EncoderSource.of_samples(self._pcm, self._feeds[0].pieces())
        return await self._segments.encode(source, segment_encoding(self._pcm), self.folder, tell)

    async def _make_mp3(self) -> Outcome:
        source, form = EncoderSource.of_samples(self._pcm, self._feeds[1].pieces()), FORMATS["mp3"]
        made = await self._files.encode(source, encoding_for(form, EncodingOptions(), self._pcm), form, self.mp3)
        return made.outcome


class _Feed:
    """Samples on their way to a child; an empty piece is the end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_BLOCKS)

    async def put(self, data: bytes) -> None:
        await self._queue.put(data)

    async def pieces(self) -> AsyncIterator[bytes]:
        while data := await self._queue.get():
            yield data
