"""Samples in, one checked file out, with the digest that it will be known by."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from streamsrv.encoding.files import FileEncoder
from streamsrv.encoding.options import EncodingOptions, encoding_for
from streamsrv.encoding.run import Progress
from streamsrv.encoding.source import EncoderSource
from streamsrv.errors import InternalError
from streamsrv.files import begin_writeback_of
from streamsrv.media.arguments import Encoding, Pcm
from streamsrv.media.feed import Piece
from streamsrv.media.formats import Format
from streamsrv.media.tools import FfmpegTools

# Told the seconds of sound that the encoder has taken.
Report = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Made:
    """A file that went through the gate, with its SHA-256 in hex.

    `samples` are those of its clips, at the grid's rate, without priming.
    """

    path: Path
    sha256: str
    samples: int
    grid: Pcm
    encoding: Encoding


class Encoder:
    """Encodes raw samples into files that will be kept."""

    def __init__(self, tools: FfmpegTools, *, max_seconds: float) -> None:
        self._encoder = FileEncoder(tools, max_seconds=max_seconds)

    async def encode(
        self, sound: AsyncIterator[Piece], grid: Pcm, form: Format, folder: Path, report: Report = lambda _seconds: None
    ) -> Made:
        """Write one file into `folder`. Raises what `sound` raises, DiskFull, and InternalError for a fault of ours."""
        encoding, path, written_bytes = encoding_for(form, EncodingOptions(), grid), folder / f"sound{form.suffix}", 0

        async def follow(progress: Progress) -> None:
            nonlocal written_bytes
            report(progress.fed_bytes / grid.frame_bytes / grid.sample_rate)
            written_bytes = await asyncio.to_thread(begin_writeback_of, path, written_bytes)

        made = await self._encoder.encode(EncoderSource.of_samples(grid, sound), encoding, form, path, report=follow)
        samples = made.outcome.decoded_samples
        if encoding.codec.lossless and made.samples != samples:
            raise InternalError("Not all samples were encoded.")
        return Made(path, await asyncio.to_thread(_hash, path), samples, grid, encoding)


def _hash(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
