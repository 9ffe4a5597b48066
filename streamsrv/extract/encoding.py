"""Samples in, one checked file out: by one encoder, in one pass."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from streamsrv.errors import DiskFull, InternalError
from streamsrv.media.arguments import Cargo, Encoding, Input, Pcm, file_arguments
from streamsrv.media.checks import check_file, check_outcome
from streamsrv.media.child import ChildLimits
from streamsrv.media.encoding import Wishes, encoding_for
from streamsrv.media.ffmpeg import Ffmpeg, Outcome
from streamsrv.media.formats import Format
from streamsrv.media.probe import measure
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.disk import is_full

log = structlog.get_logger()

_TICK_SECONDS = 0.25
# A pipe takes so much at a time.
_FED_BYTES = 1 << 18

# Told the seconds of sound that the encoder has taken.
Report = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Made:
    """A file that went through the gate. `samples` are those of its clips, at the grid's rate, without priming."""

    path: Path
    samples: int
    grid: Pcm
    encoding: Encoding


class Encoder:
    """Encodes raw samples. Whatever ends a call, no child is left."""

    def __init__(self, tools: FfmpegTools, *, max_seconds: float) -> None:
        self._tools = tools
        self._max_seconds = max_seconds

    async def encode(
        self, sound: AsyncIterator[bytes], grid: Pcm, form: Format, folder: Path, report: Report = lambda _seconds: None
    ) -> Made:
        """Write one file into `folder`. Raises what `sound` raises, DiskFull, and InternalError for a fault of ours."""
        encoding = encoding_for(form, Wishes(), grid)
        path = folder / f"sound{form.suffix}"
        argv = file_arguments(
            self._tools.ffmpeg, Input(pcm=grid), encoding, form, Cargo(), path=path, max_seconds=self._max_seconds
        )
        limits = ChildLimits.for_sound(self._max_seconds, form.max_bytes)
        async with Ffmpeg(self._tools, argv, folder=folder, feed=_in_slices(sound), limits=limits) as child:
            while await child.read_lines(_TICK_SECONDS) is not None:
                report(child.fed_bytes / grid.frame_bytes / grid.sample_rate)
            outcome = await child.outcome()
        samples = child.fed_bytes // grid.frame_bytes
        await self._check(path, outcome, encoding, grid, samples)
        return Made(path, samples, grid, encoding)

    async def _check(self, path: Path, outcome: Outcome, encoding: Encoding, grid: Pcm, samples: int) -> None:
        check_outcome(
            outcome, source_rate=grid.sample_rate, encoding=encoding, declared=None, max_seconds=self._max_seconds
        )
        if outcome.decoded_samples != samples:
            raise InternalError("The encoder didn't take all samples.")
        if encoding.codec.lossless and outcome.encoded_samples != samples:
            raise InternalError("Not all samples were encoded.")
        try:
            check_file(await measure(self._tools, path), outcome, encoding)
        except InternalError as error:
            if is_full(path.parent):
                raise DiskFull from error  # ffmpeg says nothing of it, and ends well
            raise


async def _in_slices(sound: AsyncIterator[bytes]) -> AsyncIterator[memoryview]:
    async for data in sound:
        view = memoryview(data)
        for start in range(0, len(view), _FED_BYTES):
            yield view[start : start + _FED_BYTES]
