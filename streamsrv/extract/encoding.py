"""Samples in, one checked file out: by one encoder, in one pass."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from streamsrv.errors import DiskFull, InternalError
from streamsrv.files import begin_writeback, is_full
from streamsrv.media.arguments import Cargo, Encoding, Input, Pcm, file_arguments
from streamsrv.media.checks import check_file, check_outcome
from streamsrv.media.child import ChildLimits
from streamsrv.media.chunks import read_chunks
from streamsrv.media.declared import wav_seconds
from streamsrv.media.encoding import Wishes, encoding_for
from streamsrv.media.feed import Piece
from streamsrv.media.ffmpeg import Ffmpeg, Outcome
from streamsrv.media.formats import Format
from streamsrv.media.material import read_head
from streamsrv.media.probe import Measured, measure
from streamsrv.media.tools import FfmpegTools
from streamsrv.tasks import both

_TICK_SECONDS = 0.25

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
    """Encodes raw samples. Whatever ends a call, no child is left."""

    def __init__(self, tools: FfmpegTools, *, max_seconds: float) -> None:
        self._tools = tools
        self._max_seconds = max_seconds

    async def encode(
        self, sound: AsyncIterator[Piece], grid: Pcm, form: Format, folder: Path, report: Report = lambda _seconds: None
    ) -> Made:
        """Write one file into `folder`. Raises what `sound` raises, DiskFull, and InternalError for a fault of ours."""
        encoding = encoding_for(form, Wishes(), grid)
        path = folder / f"sound{form.suffix}"
        argv = file_arguments(
            self._tools.ffmpeg, Input(pcm=grid), encoding, form, Cargo(), path=path, max_seconds=self._max_seconds
        )
        limits = ChildLimits.for_sound(self._max_seconds, form.max_bytes)
        async with Ffmpeg(self._tools, argv, folder=folder, feed=sound, limits=limits) as child:
            written_bytes = 0
            while await child.read_lines(_TICK_SECONDS) is not None:
                report(child.fed_bytes / grid.frame_bytes / grid.sample_rate)
                written_bytes = await asyncio.to_thread(_store_early, path, written_bytes)
            outcome = await child.outcome()
        samples = child.fed_bytes // grid.frame_bytes
        self._check(outcome, encoding, grid, samples)
        sha256, _ = await both(_digest(path), self._check_file(path, outcome, encoding))
        return Made(path, sha256, samples, grid, encoding)

    def _check(self, outcome: Outcome, encoding: Encoding, grid: Pcm, samples: int) -> None:
        check_outcome(
            outcome, source_rate=grid.sample_rate, encoding=encoding, declared=None, max_seconds=self._max_seconds
        )
        if outcome.decoded_samples != samples:
            raise InternalError("The encoder didn't take all samples.")
        if encoding.codec.lossless and outcome.encoded_samples != samples:
            raise InternalError("Not all samples were encoded.")

    async def _check_file(self, path: Path, outcome: Outcome, encoding: Encoding) -> None:
        try:
            check_file(await self._measure(path, encoding), outcome, encoding)
        except InternalError as error:
            if is_full(path.parent):
                raise DiskFull from error  # ffmpeg says nothing of it, and ends well
            raise

    async def _measure(self, path: Path, encoding: Encoding) -> Measured | None:
        if encoding.codec.is_pcm:
            return await asyncio.to_thread(_measure_wav, path)
        return await measure(self._tools, path)


def _measure_wav(path: Path) -> Measured | None:
    """What a WAV states, if that is all there; to read it through would tell no more."""
    head, size = read_head(path)
    chunks, seconds = read_chunks(head), wav_seconds(head)
    if chunks is None or chunks.size is None or seconds is None or chunks.offset + chunks.size > size:
        return None
    return Measured(0, seconds)


async def _digest(path: Path) -> str:
    return await asyncio.to_thread(_hash, path)


def _hash(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store_early(path: Path, done_bytes: int) -> int:
    """Let the disk begin with what came since `done_bytes`, so that little is left to sync; give how far it is now."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin_writeback(file.fileno(), done_bytes, size - done_bytes)
            return size
    except FileNotFoundError:
        return done_bytes  # not begun
