"""Run ffmpeg on what came, growing or whole, and make sure of the file that it made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from streamsrv.convert.options import ConvertOptions
from streamsrv.errors import DiskFull, EncoderKilled, InternalError, UnusableFile
from streamsrv.files import is_full
from streamsrv.media.arguments import Cargo, Encoding, Input, file_arguments
from streamsrv.media.checks import check_declared_length, check_file, check_outcome
from streamsrv.media.child import ChildLimits
from streamsrv.media.encoding import encoding_for
from streamsrv.media.ffmpeg import Ffmpeg, Outcome
from streamsrv.media.formats import Format
from streamsrv.media.material import Material
from streamsrv.media.probe import measure
from streamsrv.media.tools import FfmpegTools

log = structlog.get_logger()

_TICK_SECONDS = 0.25

# Told the share that is done, from 0 to 1; None where nobody can say.
Report = Callable[[float | None], None]


@dataclass(frozen=True, slots=True)
class Converted:
    """A file that went through the gate. `promised_bytes`: the size that its source states of itself, if any."""

    path: Path
    form: Format
    seconds: float
    promised_bytes: int | None


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

    def __init__(self, tools: FfmpegTools, *, max_seconds: float) -> None:
        self._tools = tools
        self._max_seconds = max_seconds

    async def convert(self, order: Order) -> Converted:
        """Write the file and check it. Raises a Problem: UnusableFile, BadParameter, DiskFull, or a fault of ours.

        A picture or tags that can't go along are left out: they never cost the sound. A growing material can be read
        once only, so there that is a failure of this attempt.
        """
        check_declared_length(order.material.declared, self._max_seconds)
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
        argv = file_arguments(
            self._tools.ffmpeg,
            _cut_input(order),
            encoding,
            order.form,
            cargo,
            path=path,
            max_seconds=self._max_seconds,
        )
        outcome = await self._run(argv, order)
        check_outcome(
            outcome,
            source_rate=material.source.sample_rate,
            encoding=encoding,
            declared=material.declared,
            max_seconds=self._max_seconds,
            most_samples=material.most_samples,
            cut=options.cut,
        )
        await self._check_file(path, outcome, encoding)
        return Converted(path, order.form, outcome.encoded_samples / encoding.sample_rate, material.promised_bytes)

    async def _run(self, argv: list[str], order: Order) -> Outcome:
        material = order.material
        limits = ChildLimits.for_sound(self._max_seconds, order.form.max_bytes)
        child = Ffmpeg(
            self._tools, argv, folder=order.folder, readable=material.readable, feed=material.feed, limits=limits
        )
        async with child:
            while await child.read_lines(_TICK_SECONDS) is not None:
                order.report(_share(child.out_seconds, order))
            return await child.outcome()

    async def _check_file(self, path: Path, outcome: Outcome, encoding: Encoding) -> None:
        try:
            check_file(await measure(self._tools, path), outcome, encoding)
        except InternalError as error:
            if is_full(path.parent):
                raise DiskFull from error  # not every muxer says so
            raise


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


def _cut_input(order: Order) -> Input:
    material = order.material
    start, end = order.options.cut.samples(material.source.sample_rate)
    ends = [sample for sample in (end, material.input.end_sample) if sample is not None]
    return replace(material.input, start_sample=start, end_sample=min(ends, default=None))


def _share(out_seconds: float, order: Order) -> float | None:
    material, cut = order.material, order.options.cut
    length = material.declared.seconds if material.declared else None
    if length is None and material.feed is None:
        length = material.source.duration_seconds
    wanted = cut.seconds_of(length) if length else cut.duration_seconds
    return min(1.0, out_seconds / wanted) if wanted else None
