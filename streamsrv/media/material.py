"""What one run of ffmpeg reads: a whole file, or one that is still growing, and what its first bytes tell of it."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamsrv.errors import InternalError, UnusableFile
from streamsrv.media.arguments import Input
from streamsrv.media.chunks import is_chunked, read_chunks
from streamsrv.media.inputs import Container
from streamsrv.media.integrity.declared import Declared, declared, declared_bytes, xing_header
from streamsrv.media.integrity.loss import STRICT, Terms, check_size
from streamsrv.media.integrity.structure import Examined
from streamsrv.media.memory import decoding_memory
from streamsrv.media.probe import Source, probe
from streamsrv.media.sniff import HEAD_BYTES, id3_length, sniff
from streamsrv.media.tools import FfmpegTools
from streamsrv.media.wav import Wav, mended, mended_head

# A large cover or an index of hours of sound may stand before the sound: then a header needs more bytes to be read.
_HEADER_BYTES = (HEAD_BYTES, 4 * HEAD_BYTES, 16 * HEAD_BYTES, 64 * HEAD_BYTES, 256 * HEAD_BYTES)
_DELAY_SAMPLES = 576
# Of the containers that can be decoded from a pipe, by ffmpeg's names.
_SEVERAL_TRACKS = ("matroska", "mov", "flv")


class Growing(Protocol):
    """A file that grows, as the spool of an upload does."""

    @property
    def path(self) -> Path: ...

    @property
    def size(self) -> int: ...

    async def head(self, count: int, start: int = 0) -> bytes:
        """Give `count` bytes from `start` on as soon as they are there, or what there is at the end."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Give all bytes from the start as they come, up to the end."""


@dataclass(frozen=True, slots=True)
class Material:
    """A whole file of `file_bytes`, by its path in `input`, or a growing one, through `feed`.

    `promised_bytes`: the size it states.

    `path` is where what is there by now can be looked into. Should more than `most_samples` be decoded, the header that
    says where the sound ends is wrong, and only the whole file tells. `terms`: may some of it be missing?
    """

    input: Input
    path: Path
    source: Source
    declared: Declared | None
    promised_bytes: int | None = None
    most_samples: int | None = None
    feed: AsyncIterator[bytes] | None = None
    terms: Terms = STRICT
    file_bytes: int | None = None

    @property
    def memory_bytes(self) -> int:
        """What may be taken to decode it."""
        source = self.source
        return decoding_memory(
            self.file_bytes,
            format_name=source.format_name,
            seconds=source.duration_seconds,
            sample_rate=source.sample_rate,
            channels=source.channels,
        )

    @property
    def examined(self) -> Examined | None:
        """What is looked into again where a decoder complained. Samples have no damage."""
        source = self.source
        return (
            None
            if source.wav is not None
            else Examined(self.path, source.format_name, raw=source.raw, codec=source.codec)
        )

    @property
    def readable(self) -> tuple[Path, ...]:
        """The files that ffmpeg must be able to open for it."""
        return () if self.input.path is None else (self.input.path,)


async def whole_material(tools: FfmpegTools, path: Path, terms: Terms = STRICT, *, name: str = "") -> Material:
    """Look into a file that is all there; its `name` may tell what its bytes don't. Raises UnusableFile."""
    looked = await asyncio.to_thread(look, path)
    terms, wav = check_size(looked.promised_bytes, looked.size, terms), looked.wav
    source = Source.of_wav(wav) if wav is not None else await probe(tools, path, name=name)
    promise = await asyncio.to_thread(declared, looked.head, source, looked.size)
    source_input = Input.of_file(
        path, clock=source.clock, is_float=source.is_float, codec=source.codec, wav=wav, raw=source.raw
    )
    return Material(source_input, path, source, promise, looked.promised_bytes, terms=terms, file_bytes=looked.size)


async def growing_material(tools: FfmpegTools, file: Growing, folder: Path, terms: Terms = STRICT) -> Material:
    """Look into what has come of an upload. Raises a Problem or OSError where it can't be decoded as it comes."""
    head = await file.head(HEAD_BYTES)
    tag_bytes = id3_length(head)
    if tag_bytes:
        head = await file.head(HEAD_BYTES, tag_bytes)
    for count in _HEADER_BYTES[:-1]:
        if await asyncio.to_thread(is_whole_head, head, count):
            break
        head = await file.head(4 * count)
    container = await asyncio.to_thread(_pipeable, head)
    if container is None:
        raise InternalError("This container can't be decoded while it arrives.")
    # The file's own name may go to storage when it is complete; this one stays as long as it is read.
    link = folder / "source"
    await asyncio.to_thread(os.link, file.path, link)
    source = await _probe_growing(tools, file, link, tag_bytes, container.demuxer)
    xing = xing_header(head) if container.name == "mp3" else None
    # From a pipe ffmpeg plays the encoder's padding, too; from a file it leaves it out.
    end = xing.samples if xing is not None and xing.trimmed else None
    # Half a frame of MPEG-1 more is still the decoder's own delay.
    most = xing.samples + xing.padding + _DELAY_SAMPLES if xing is not None and xing.trimmed else None
    source_input = Input(
        demuxer=container.demuxer,
        clock=source.clock,
        is_float=source.is_float,
        codec=source.codec,
        end_sample=end,
    )
    promise, size = await asyncio.to_thread(lambda: (declared(head, source), declared_bytes(head)))
    return Material(source_input, link, source, promise, size, most, file.chunks(), terms)


def _pipeable(head: bytes) -> Container | None:
    """The container, if it can be decoded from a pipe as it is."""
    container = sniff(head)
    return container if container is not None and container.pipeable and mended_head(head) is None else None


async def check_whole(tools: FfmpegTools, material: Material) -> None:
    """Does a file that grew, and is whole now, hold the sound that its head said, and no other?

    Raises InternalError where only the whole file tells, and UnusableFile.
    """
    source = material.source
    if source.format_name == "wav" and (await asyncio.to_thread(look, material.path)).wav is not None:
        raise InternalError("This WAV has its sound in several places.")
    if source.format_name.startswith(_SEVERAL_TRACKS):
        whole = await probe(tools, material.path)
        if whole.late_seconds != source.late_seconds:
            raise InternalError("The file's head doesn't tell when its sound begins.")


async def _probe_growing(tools: FfmpegTools, file: Growing, link: Path, tag_bytes: int, demuxer: str) -> Source:
    for count in _HEADER_BYTES:
        needed = tag_bytes + count
        await file.head(1, needed - 1)
        try:
            return await probe(tools, link, demuxer=demuxer)
        except UnusableFile:
            if file.size < needed:
                raise  # that is all of it
    raise UnusableFile("The file's header is too long to be decoded while it arrives.")


def is_whole_head(head: bytes, count: int) -> bool:
    """Are these all that is needed of a header, the first `count` bytes of a file? Pure.

    In files of chunks tags, covers and padding may stand before the chunk that tells how much sound there is.
    """
    return len(head) < count or not is_chunked(head) or read_chunks(head) is not None


@dataclass(frozen=True, slots=True)
class Looked:
    """A file's `head`, as `read_head` gives it, and its size; the one that it states, if any; a WAV as it is meant."""

    head: bytes
    size: int
    promised_bytes: int | None
    wav: Wav | None


def look(path: Path) -> Looked:
    """Read a file's first bytes, and a WAV as it is meant where that isn't plain. Raises UnusableFile. Blocks."""
    head, size = read_head(path)
    with path.open("rb") as file:

        def read(offset: int, count: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        return Looked(head, size, declared_bytes(head), mended(head, size, read))


def read_head(path: Path) -> tuple[bytes, int]:
    """The file's first bytes, those behind its ID3 tag if it has one, and its size."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if tag_bytes := id3_length(head):  # up to 256 MiB
            file.seek(tag_bytes)
            head = file.read(HEAD_BYTES)
        for count in _HEADER_BYTES[:-1]:
            if is_whole_head(head, count):
                break
            head += file.read(3 * count)
        return head, os.fstat(file.fileno()).st_size
