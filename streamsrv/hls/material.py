"""What one attempt reads: a whole file, or an upload that is still growing, and what its first bytes tell of it."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from streamsrv.errors import InternalError
from streamsrv.media.arguments import Input
from streamsrv.media.checks import check_size
from streamsrv.media.declared import Declared, declared, declared_bytes, xing_header
from streamsrv.media.probe import Source, probe
from streamsrv.media.sniff import HEAD_BYTES, id3_length, sniff
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class Material:
    """A whole file, by its path in `input`, or a growing one, through `feed`; `promised_bytes`: the size it states."""

    input: Input
    source: Source
    declared: Declared | None
    promised_bytes: int | None = None
    feed: AsyncIterator[bytes] | None = None


async def whole_material(tools: FfmpegTools, path: Path) -> Material:
    """Look into a file that is all there. Raises UnusableFile."""
    head, size = await asyncio.to_thread(_read_head, path)
    promised = declared_bytes(head)
    check_size(promised, size)
    source = await probe(tools, path)
    return Material(Input(path=path), source, declared(head, source), promised)


async def growing_material(tools: FfmpegTools, spool: Spool, folder: Path) -> Material:
    """Look into what has come of an upload. Raises a Problem or OSError where it can't be decoded as it comes."""
    head = await spool.head(HEAD_BYTES)
    if tag_bytes := id3_length(head):
        head = await spool.head(HEAD_BYTES, tag_bytes)
    container = sniff(head)
    if container is None or not container.pipeable:
        raise InternalError("This container can't be decoded while it arrives.")
    # The spool's own name goes to storage when the upload ends; this one stays as long as it is read.
    link = folder / "source"
    await asyncio.to_thread(os.link, spool.path, link)
    source = await probe(tools, link, demuxer=container.demuxer)
    xing = xing_header(head) if container.name == "mp3" else None
    # From a pipe ffmpeg plays the encoder's padding, too; from a file it leaves it out.
    end = xing.samples if xing is not None and xing.trimmed else None
    source_input = Input(demuxer=container.demuxer, end_sample=end)
    return Material(source_input, source, declared(head, source), declared_bytes(head), spool.chunks())


def _read_head(path: Path) -> tuple[bytes, int]:
    """The file's first bytes, those behind its ID3 tag if it has one, and its size."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if tag_bytes := id3_length(head):  # up to 256 MiB
            file.seek(tag_bytes)
            head = file.read(HEAD_BYTES)
        return head, os.fstat(file.fileno()).st_size
