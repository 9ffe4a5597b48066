"""One file, by one encoder, in one pass."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamsrv.encoding.run import EncoderRun, Progress
from streamsrv.encoding.source import EncoderSource
from streamsrv.files import full_disk_told_apart
from streamsrv.media.arguments import Cargo, Encoding, file_arguments
from streamsrv.media.checks import check_file
from streamsrv.media.chunks import read_chunks
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.formats import Format
from streamsrv.media.integrity.declared import wav_seconds
from streamsrv.media.material import read_head
from streamsrv.media.probe import Measured, measure
from streamsrv.media.tools import FfmpegTools

# The sound alone, without tags and pictures.
NOTHING_ELSE = Cargo()
# Told how far the encoder is, again and again.
Report = Callable[[Progress], Awaitable[None]]


async def no_report(_progress: Progress) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A file that went through the gate: `samples` are those that were encoded, at the encoding's rate."""

    path: Path
    encoding: Encoding
    outcome: Outcome

    @property
    def samples(self) -> int:
        return self.outcome.encoded_samples

    @property
    def seconds(self) -> float:
        return self.samples / self.encoding.sample_rate


class FileEncoder:
    """Makes files. Whatever ends a call, no child is left."""

    def __init__(self, tools: FfmpegTools, *, max_seconds: float) -> None:
        self._tools = tools
        self._max_seconds = max_seconds

    async def encode(
        self,
        source: EncoderSource,
        encoding: Encoding,
        form: Format,
        path: Path,
        *,
        cargo: Cargo = NOTHING_ELSE,
        report: Report = no_report,
    ) -> EncodedFile:
        """Write `path`, which doesn't exist yet, in a folder of its own, and check it.

        Raises UnusableFile and BadParameter for the input's fault, DiskFull, InternalError for ours, and what the
        source's feed raises.
        """
        argv = file_arguments(
            self._tools.ffmpeg, source.input, encoding, form, cargo, path=path, max_seconds=self._max_seconds
        )
        run = EncoderRun(
            tools=self._tools,
            argv=argv,
            source=source,
            encoding=encoding,
            folder=path.parent,
            max_seconds=self._max_seconds,
            max_bytes=form.max_bytes,
        )

        async def watch(progress: Progress, _lines: Sequence[str]) -> None:
            await report(progress)

        outcome = await run.follow(watch)
        with full_disk_told_apart(path.parent):
            check_file(await self._measure(path, form), outcome, encoding)
        return EncodedFile(path, encoding, outcome)

    async def _measure(self, path: Path, form: Format) -> Measured | None:
        if form.muxer == "wav":
            return await asyncio.to_thread(_measure_wav, path)
        return await measure(self._tools, path)


def _measure_wav(path: Path) -> Measured | None:
    """What a WAV states, if that is all there; to read it through would tell no more."""
    try:
        head, size = read_head(path)
    except FileNotFoundError:
        return None
    chunks, seconds = read_chunks(head), wav_seconds(head, size)
    if chunks is None or chunks.size is None or seconds is None or chunks.offset + chunks.size > size:
        return None
    return Measured(0, seconds)
