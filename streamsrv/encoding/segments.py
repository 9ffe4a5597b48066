"""Segments of a stream, by one encoder, told of as it finishes them."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from streamsrv.encoding.run import EncoderRun, Progress
from streamsrv.encoding.source import EncoderSource
from streamsrv.media.arguments import Encoding, hls_arguments
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.playlist import finished_segment
from streamsrv.media.tools import FfmpegTools

# Told the numbers of segments that were finished since, perhaps none, and how far the encoder is, again and again.
Finished = Callable[[Sequence[int], Progress], Awaitable[None]]


class SegmentEncoder:
    """Makes segments of at most `segment_seconds`. Whatever ends a call, no child is left."""

    def __init__(self, tools: FfmpegTools, *, segment_seconds: int, max_seconds: float) -> None:
        self._tools = tools
        self._segment_seconds = segment_seconds
        self._max_seconds = max_seconds

    async def encode(self, source: EncoderSource, encoding: Encoding, folder: Path, finished: Finished) -> Outcome:
        """Write segments from number 1 on into `folder`; give how the encoder ended, which was well.

        That all it handed over is in the segments is for `finished` to see, who reads them. Raises as `FileEncoder`
        does, and what `finished` raises.
        """
        argv = hls_arguments(
            self._tools.ffmpeg,
            source.input,
            encoding,
            folder=folder,
            segment_seconds=self._segment_seconds,
            max_seconds=self._max_seconds,
        )
        run = EncoderRun(
            tools=self._tools,
            argv=argv,
            source=source,
            encoding=encoding,
            folder=folder,
            max_seconds=self._max_seconds,
        )

        async def watch(progress: Progress, lines: Sequence[str]) -> None:
            numbers = [number for line in lines if (number := finished_segment(line)) is not None]
            await finished(numbers, progress)

        return await run.follow(watch)
