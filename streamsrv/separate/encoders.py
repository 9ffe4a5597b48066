"""Tracks leave through encoders while a song is being separated: as FLAC segments, and as one MP3 each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from streamsrv.errors import DiskFull, InternalError
from streamsrv.files import disk_errors, is_full
from streamsrv.media.arguments import Cargo, Encoding, Input, Pcm, file_arguments, hls_arguments
from streamsrv.media.checks import check_file, check_outcome
from streamsrv.media.child import ChildLimits
from streamsrv.media.encoding import Wishes, encoding_for
from streamsrv.media.ffmpeg import Ffmpeg, Outcome
from streamsrv.media.formats import FORMATS
from streamsrv.media.playlist import finished_segment
from streamsrv.media.probe import measure
from streamsrv.media.tools import FfmpegTools
from streamsrv.tasks import both

SEGMENT_SECONDS = 6

_TICK_SECONDS = 0.5
# Blocks that wait for an encoder: one that it takes, one that comes next.
_WAITING_BLOCKS = 2

# Told the track and the numbers of its segments that are finished.
Finished = Callable[[int, Sequence[int]], Awaitable[None]]


def segment_encoding(pcm: Pcm) -> Encoding:
    return encoding_for(FORMATS["flac"], Wishes(), pcm)


class TrackEncoder:
    """One track's encoders: `async with` it, `write` samples, `end`, and meanwhile `follow` it to its end.

    Its segments appear in `folder`, its MP3 is `mp3`. Whatever ends the block, no child is left.
    """

    def __init__(self, tools: FfmpegTools, folder: Path, pcm: Pcm, *, max_seconds: float) -> None:
        self.folder = folder
        self.mp3 = folder / "track.mp3"
        self.written_bytes = 0
        self._tools = tools
        self._pcm = pcm
        self._max_seconds = max_seconds
        self._lossless = segment_encoding(pcm)
        self._lossy = encoding_for(FORMATS["mp3"], Wishes(), pcm)
        self._feeds = (_Feed(), _Feed())
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        with disk_errors():
            await asyncio.to_thread(self.folder.mkdir)
        async with self._stack:
            self._segmenter = await self._stack.enter_async_context(self._segmenting())
            self._encoder = await self._stack.enter_async_context(self._encoding())
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def write(self, data: bytes) -> None:
        """Hand over interleaved samples; waits while the encoders are behind."""
        self.written_bytes += len(data)
        for feed in self._feeds:
            await feed.put(data)

    async def end(self) -> None:
        for feed in self._feeds:
            await feed.put(b"")

    async def follow(self, finished: Callable[[Sequence[int]], Awaitable[None]]) -> Outcome:
        """Tell of finished segments until both encoders have ended, and check what came of them.

        Gives how the segmenter ended. Raises DiskFull, and InternalError for any other failure, as soon as one of them
        is there: an encoder that has ended takes no more, and whoever writes would wait for ever.
        """
        outcome, _ = await both(self._follow_segments(finished), self._follow_mp3())
        return outcome

    async def _follow_segments(self, finished: Callable[[Sequence[int]], Awaitable[None]]) -> Outcome:
        while (lines := await self._segmenter.read_lines(_TICK_SECONDS)) is not None:
            numbers = [number for line in lines if (number := finished_segment(line)) is not None]
            if numbers:
                await finished(numbers)
        outcome = await self._segmenter.outcome()
        self._check(outcome, self._lossless)
        return outcome

    async def _follow_mp3(self) -> None:
        while await self._encoder.read_lines(_TICK_SECONDS) is not None:
            pass
        outcome = await self._encoder.outcome()
        self._check(outcome, self._lossy)
        await self._check_mp3(outcome)

    def _segmenting(self) -> Ffmpeg:
        argv = hls_arguments(
            self._tools.ffmpeg,
            Input(pcm=self._pcm),
            self._lossless,
            folder=self.folder,
            segment_seconds=SEGMENT_SECONDS,
            max_seconds=self._max_seconds,
        )
        return self._child(argv, self._feeds[0])

    def _encoding(self) -> Ffmpeg:
        argv = file_arguments(
            self._tools.ffmpeg,
            Input(pcm=self._pcm),
            self._lossy,
            FORMATS["mp3"],
            Cargo(),
            path=self.mp3,
            max_seconds=self._max_seconds,
        )
        return self._child(argv, self._feeds[1])

    def _child(self, argv: Sequence[str], feed: "_Feed") -> Ffmpeg:
        limits = ChildLimits.for_sound(self._max_seconds)
        return Ffmpeg(self._tools, argv, folder=self.folder, feed=feed.pieces(), limits=limits)

    def _check(self, outcome: Outcome, encoding: Encoding) -> None:
        check_outcome(
            outcome,
            source_rate=self._pcm.sample_rate,
            encoding=encoding,
            declared=None,
            max_seconds=self._max_seconds,
        )
        if outcome.decoded_samples != self.written_bytes // self._pcm.frame_bytes:
            raise InternalError("An encoder didn't take all samples.")

    async def _check_mp3(self, outcome: Outcome) -> None:
        try:
            check_file(await measure(self._tools, self.mp3), outcome, self._lossy)
        except InternalError as error:
            if is_full(self.folder):
                raise DiskFull from error  # ffmpeg says nothing of it, and ends well
            raise


class _Feed:
    """Samples on their way to a child; an empty piece is the end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_BLOCKS)

    async def put(self, data: bytes) -> None:
        await self._queue.put(data)

    async def pieces(self) -> AsyncIterator[bytes]:
        while data := await self._queue.get():
            yield data
