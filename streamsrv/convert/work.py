"""Run ffmpeg on what came, growing or whole, and make sure of the file that it made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from streamsrv.convert.options import ConvertOptions
from streamsrv.encoding.files import FileEncoder
from streamsrv.encoding.options import encoding_for
from streamsrv.encoding.run import Progress
from streamsrv.encoding.source import EncoderSource
from streamsrv.errors import EncoderKilled, InternalError, UnusableFile
from streamsrv.media.arguments import Cargo
from streamsrv.media.checks import check_declared_length, check_samples
from streamsrv.media.formats import Format
from streamsrv.media.material import Material
from streamsrv.media.tools import FfmpegTools

log = structlog.get_logger()

# As much as a sample takes in any format, and a second of sound where an encoder chooses by itself.
_SAMPLE_BYTES, _MOST_LOSSY_BPS = 4, 500_000
# What is less is tried, and ends in words where a disk is full indeed.
_LARGE_BYTES = 64 << 20
# Told the share that is done, from 0 to 1; None where nobody can say.
Report = Callable[[float | None], None]


@dataclass(frozen=True, slots=True)
class Converted:
    """A file that went through the gate. `promised_bytes`: the size that its source states of itself, if any.

    `lost_seconds` of its source's sound are missing; None where that wouldn't have been put up with.
    """

    path: Path
    form: Format
    seconds: float
    promised_bytes: int | None
    lost_seconds: float | None


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made of what, where, and who wants to know how far it is."""

    material: Material
    form: Format
    options: ConvertOptions
    folder: Path
    report: Report


class Converter:
    """Makes one file of one material. Whatever ends a call, no child is left."""

    def __init__(self, tools: FfmpegTools, *, max_seconds: float, max_samples: int) -> None:
        self._encoder = FileEncoder(tools, max_seconds=max_seconds)
        self._max_seconds = max_seconds
        self._max_samples = max_samples

    async def convert(self, order: Order) -> Converted:
        """Write the file and check it. Raises a Problem: UnusableFile, BadParameter, DiskFull, or a fault of ours.

        A picture or tags that can't go along are left out: they never cost the sound. A growing material can be read
        once only, so there that is a failure of this attempt.
        """
        material = order.material
        check_declared_length(material.declared, self._max_seconds)
        check_samples(material.declared, material.source.sample_rate, material.source.channels, self._max_samples)
        cargo = cargo_for(order.form, order.options, order.material)
        try:
            return await self._make(order, cargo)
        except EncoderKilled:
            raise
        except (UnusableFile, InternalError) as error:
            if order.material.feed is not None or cargo == Cargo():
                raise
            return await self._make_with_less(order, cargo, error)

    async def _make_with_less(self, order: Order, cargo: Cargo, error: UnusableFile | InternalError) -> Converted:
        """The sound without the picture, and then without tags, which may be more than the format can hold."""
        if cargo.known_pictures:
            log.info("picture_left_out", reason=error.detail)
            try:
                return await self._make(order, replace(cargo, pictures=False, known_pictures=0))
            except InternalError as other:
                error = other
        if isinstance(error, UnusableFile | EncoderKilled):
            raise error
        log.info("tags_left_out", reason=error.detail)
        return await self._make(order, Cargo())

    async def _make(self, order: Order, cargo: Cargo) -> Converted:
        material, options = order.material, order.options
        encoding = encoding_for(order.form, options, material.source)
        path = order.folder / f"{len(cargo.tags_from)}{cargo.pictures:d}{order.form.suffix}"

        async def report(progress: Progress) -> None:
            order.report(_share(progress.out_seconds, order))

        source = EncoderSource.of_material(material, options.cut)
        made = await self._encoder.encode(source, encoding, order.form, path, cargo=cargo, report=report)
        lost_seconds = made.outcome.lost_seconds if options.terms.tolerates else None
        return Converted(path, order.form, made.seconds, material.promised_bytes, lost_seconds)


def cargo_for(form: Format, options: ConvertOptions, material: Material) -> Cargo:
    """Tags, and cover art where the format can hold it. Pure."""
    if not options.keeps_metadata:
        return Cargo()
    # Ogg has its tags at the track, all others at the file.
    tags_from = ("0:g", "0:s:a:0") if material.source.format_name == "ogg" else ("0:g",)
    # Of a growing file the pictures may not be known yet; a film has none that is worth waiting for.
    pictures = form.pictures and not material.source.has_video
    known = material.source.pictures if pictures else 0
    return Cargo(tags_from=tags_from, pictures=pictures, known_pictures=known)


def expected_bytes(order: Order) -> int:
    """About how large the file will be at most; 0 where it is small, or nobody knows how long its sound is. Pure."""
    material, encoding = order.material, encoding_for(order.form, order.options, order.material.source)
    if material.declared is None:
        return 0
    samples = order.options.cut.seconds_of(material.declared.seconds) * encoding.sample_rate
    if encoding.codec.lossless:
        count = int(samples) * encoding.channels * _SAMPLE_BYTES
    else:
        count = int(samples / encoding.sample_rate * (encoding.bitrate_bps or _MOST_LOSSY_BPS) / 8)
    return count if count >= _LARGE_BYTES else 0


def _share(out_seconds: float, order: Order) -> float | None:
    material, cut = order.material, order.options.cut
    length = material.declared.seconds if material.declared else None
    if length is None and material.feed is None:
        length = material.source.duration_seconds
    wanted = cut.seconds_of(length) if length else cut.duration_seconds
    return min(1.0, out_seconds / wanted) if wanted else None
