"""One conversion, from the first byte of its upload to a file that can be sent."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from streamsrv.convert.options import ConvertOptions
from streamsrv.convert.schema import read_options
from streamsrv.convert.work import Converted, Converter, Order, expected_bytes
from streamsrv.errors import BadParameter, EncoderKilled, MissingFile, Problem, UnusableFile
from streamsrv.media.formats import Format
from streamsrv.media.integrity.loss import check_size
from streamsrv.media.material import Material, check_whole, growing_material, whole_material
from streamsrv.media.probe import describe
from streamsrv.media.sniff import HEAD_BYTES, sniff
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.room import Room
from streamsrv.storage.spool import Spool, SpoolAborted, Spools
from streamsrv.storage.storage import Storage
from streamsrv.web.uploads import FilePart, Form

log = structlog.get_logger()

# What has come by then is begun as a whole: a second encoder for it would be work for nothing.
_PATIENCE_SECONDS = 0.1


class Slots:
    """Encoders at the same time: `whole` for files that are all there, `live` for those that still arrive."""

    def __init__(self, *, whole: int, live: int) -> None:
        self.whole = asyncio.Semaphore(whole)
        self.live = asyncio.Semaphore(live)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every conversion works with."""

    spools: Spools
    storage: Storage
    room: Room
    tools: FfmpegTools
    converter: Converter
    slots: Slots


class Conversion:
    """`async with` it: whatever ends the block, its encoder has ended and its files are gone.

    It is the sink of the form's file part; `finish` gives the file. `given` are the options of the query string,
    `expected_bytes` what the request says of its length, 0 if nothing.
    """

    def __init__(
        self, conversion_id: str, given: Mapping[str, str], *, expected_bytes: int, workshop: Workshop
    ) -> None:
        self._id = conversion_id
        self._given = given
        self._expected_bytes = expected_bytes
        self._workshop = workshop
        self._formats = workshop.tools.formats()
        self._phase = "receiving"
        self._share: float | None = None
        self._spool: Spool | None = None
        self._early = ConvertOptions()
        self._may_start = False
        self._live: asyncio.Task[Converted | None] | None = None
        self._described: object = None
        self._files = AsyncExitStack()
        self._live_files = AsyncExitStack()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.cancel()
        # Only a cancellation is the group's affair; any other error of the block goes on as it is.
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        try:
            await self._tasks.__aexit__(*((kind, error, trace) if cancelled else (None, None, None)))
        finally:
            try:
                await self._live_files.aclose()
            finally:
                await self._files.aclose()

    def progress(self) -> dict[str, Any]:
        """How far it is, for whoever asks meanwhile."""
        return {
            "id": self._id,
            "phase": self._phase,
            "received_bytes": self._spool.appended if self._spool is not None else 0,
            "expected_bytes": self._expected_bytes or None,
            "progress": None if self._share is None else round(100 * self._share, 1),
        }

    async def open_file(self, part: FilePart, fields: Mapping[str, str]) -> "Conversion":
        """The file's first byte has come. Raises BadParameter for options before it that can't be."""
        self._early = read_options({**self._given, **fields}, self._formats)
        self._may_start = self._early.form is not None
        self._spool = await self._workshop.spools.create(f"convert.{self._id}")
        self._files.push_async_callback(self._spool.abort)
        log.info("conversion_started", conversion_id=self._id, source_name=part.filename)
        return self

    async def append(self, data: bytes) -> None:
        spool, form = self._opened(), self._early.form
        await spool.append(data)
        if self._may_start and form is not None and spool.appended >= HEAD_BYTES:
            self._may_start = False
            container = await asyncio.to_thread(sniff, await spool.head(HEAD_BYTES))
            if container is not None and container.pipeable and not self._workshop.slots.live.locked():
                await self._workshop.slots.live.acquire()
                self._live = self._tasks.create_task(self._convert_growing(spool, form))
                # Also where it is cancelled before it begins.
                self._live.add_done_callback(lambda _: self._workshop.slots.live.release())

    async def finish(self, form: Form) -> Converted:
        """The form's end was seen: give the file, from the encoder that ran meanwhile or from the whole upload."""
        options = read_options({**self._given, **form.fields}, self._formats)
        if options.form is None:
            raise BadParameter(f"Say in the field 'format' what you want. There are: {', '.join(self._formats)}.")
        if self._spool is None or form.file is None:
            raise MissingFile("Send the audio file in the field 'file'." if form.file is None else "The file is empty.")
        await self._spool.seal()
        self._phase = "encoding"
        converted = await self._live_result(options)
        is_live = converted is not None
        if converted is None:
            await self._live_files.aclose()
            converted = await self._convert_whole(form.file, options.form, options)
        await self._spool.abort()  # the reply may take its time, and the upload isn't needed for it
        self._phase, self._share = "replying", 1.0
        log.info(
            "converted",
            conversion_id=self._id,
            format=options.form.name,
            seconds=round(converted.seconds, 3),
            live=is_live,
        )
        return converted

    async def _live_result(self, options: ConvertOptions) -> Converted | None:
        """The file that was made meanwhile, if it is what was asked for in the end, and has all that it should."""
        if self._live is None:
            return None
        if options != self._early or not await self._is_as_described():
            self._live.cancel()
            await asyncio.wait([self._live])
            return None
        converted = await self._live
        if converted is None or check_size(converted.promised_bytes, self._opened().size, options.terms).missing_share:
            return None  # the whole file tells how much of it is missing
        return converted

    async def _is_as_described(self) -> bool:
        """Does the whole file show what was seen of it in order? Tags at its end can't be seen from a pipe."""
        if self._described is None:
            return False
        try:
            return await describe(self._workshop.tools, self._opened().path) == self._described
        except Problem:
            return False  # the whole file decides

    async def _convert_growing(self, spool: Spool, form: Format) -> Converted | None:
        """Encode the upload as it grows; None where that failed, or came at once: then the whole file decides."""
        try:
            if not await spool.still_grows(_PATIENCE_SECONDS):
                return None
            folder = await self._live_files.enter_async_context(
                self._workshop.storage.scratch(f"convert.{self._id}.live")
            )
            material = await growing_material(self._workshop.tools, spool, folder, self._early.terms)
            self._described = await describe(self._workshop.tools, material.path, demuxer=material.input.demuxer)
            converted = await self._convert(material, form, self._early, folder)
            await check_whole(self._workshop.tools, material)
            return converted  # noqa: TRY300 - the check belongs to what may fail
        except EncoderKilled:
            raise
        except (Problem, SpoolAborted, OSError) as error:
            log.info("live_conversion_ended", conversion_id=self._id, reason=str(error) or repr(error))
            return None

    async def _convert_whole(self, part: FilePart, form: Format, options: ConvertOptions) -> Converted:
        self._phase, self._share = "waiting", None
        async with self._workshop.slots.whole:
            self._phase = "encoding"
            folder = await self._files.enter_async_context(self._workshop.storage.scratch(f"convert.{self._id}"))
            try:
                material = await whole_material(
                    self._workshop.tools, self._opened().path, options.terms, name=part.filename
                )
            except UnusableFile as error:
                if part.filename:
                    raise
                # curl's -F "file=song.wav" sends the words "song.wav".
                raise UnusableFile(
                    f"{error.detail} The field 'file' came without a file name: with curl, write file=@NAME."
                ) from error
            return await self._convert(material, form, options, folder)

    async def _convert(self, material: Material, form: Format, options: ConvertOptions, folder: Path) -> Converted:
        order = Order(material, form, options, folder, self._report)
        async with self._workshop.room.lent(expected_bytes(order)):
            return await self._workshop.converter.convert(order)

    def _report(self, share: float | None) -> None:
        self._share = share

    def _opened(self) -> Spool:
        assert self._spool is not None  # noqa: S101 - the form's walk opens the file before it appends
        return self._spool
