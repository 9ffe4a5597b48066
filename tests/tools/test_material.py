"""What is read of a file before it is decoded: of one that is all there, and of one that grows, on a real spool."""

import asyncio
import base64
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.deadline import eventually
from support.sound import tone

from streamsrv.errors import InternalError, UnusableFile
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.material import Material, growing_material, whole_material
from streamsrv.media.tools import FfmpegTools
from streamsrv.storage.spool import Spool, SpoolAborted, Spools

KIB, MIB = 1 << 10, 1 << 20
WAIT_SECONDS = 20
# It can't be made small.
NOISE = "-af aeval=random(0)-0.5|random(1)-0.5:c=stereo"


def picture(size: int) -> bytes:
    """A PNG of one pixel that is as large as one of many."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return start + chunk(b"teXt", bytes(size)) + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")


def picture_block(size: int) -> bytes:
    """A cover as FLAC and Ogg have it (RFC 9639 section 8.8)."""
    data = picture(size)
    return struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 1, 1, 24, 0, len(data)) + data


def flac_with_picture(sound: Path, size: int) -> bytes:
    data = tone(sound.with_suffix(".flac"), seconds=20, options=NOISE).read_bytes()
    block = picture_block(size)
    information = 4 + 4 + 34  # the mark, and the block that is always first
    return data[:information] + struct.pack(">I", 6 << 24 | len(block)) + block + data[information:]


def mp3_with_tag(sound: Path, size: int) -> bytes:
    data = tone(sound.with_suffix(".mp3"), seconds=20, options="-b:a 128k -write_id3v2 0 -id3v2_version 0").read_bytes()
    frame = b"\0image/png\0\3\0" + picture(size)
    body = b"APIC" + struct.pack(">IH", len(frame), 0) + frame
    length = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + body + data


def ogg_with_picture(sound: Path, size: int) -> bytes:
    tags = sound.with_suffix(".txt")
    coded = base64.b64encode(picture_block(size)).decode().replace("=", "\\=")
    tags.write_text(f";FFMETADATA1\nMETADATA_BLOCK_PICTURE={coded}\n")
    options = f"-i {tags} -map_metadata 1 -map 0:a {NOISE}"
    return tone(sound.with_suffix(".ogg"), seconds=20, options=options).read_bytes()


def mp4_with_index(sound: Path, _size: int) -> bytes:
    options = "-c:a flac -frame_size 16 -strict -2 -movflags +faststart -f mp4"
    return tone(sound.with_suffix(".mp4"), seconds=60, rate=8000, channels=1, options=options).read_bytes()


def matroska_with_tags(sound: Path, size: int) -> bytes:
    tags = sound.with_suffix(".txt")
    tags.write_text(f";FFMETADATA1\nCOMMENT={'x' * size}\n")
    options = f"-i {tags} -map_metadata 1 -c:a flac -map 0:a"
    return tone(sound.with_suffix(".mka"), seconds=20, options=options).read_bytes()


@dataclass(frozen=True)
class Case:
    """A file whose sound begins behind its first 64 KiB, and how much of it has to be there to be understood."""

    data: bytes
    needed: int
    demuxer: str
    codec: str
    declared: Declared
    declared_at_start: bool


MAKERS = {
    "mp4 index": (mp4_with_index, 0, 256 * KIB, "mov", "flac", Declared(60.0, 0.25)),
    "flac picture": (flac_with_picture, 2 * MIB, 4 * MIB, "flac", "flac", Declared(20.0, 0.005)),
    "mp3 tag": (mp3_with_tag, 300_000, 300_000 + 70 * KIB, "mp3", "mp3", Declared(20.0, 0.25)),
    "ogg picture": (ogg_with_picture, 100_000, 256 * KIB, "ogg", "vorbis", Declared(20.0, 0.25)),
    "matroska tags": (matroska_with_tags, 100_000, 256 * KIB, "matroska", "flac", Declared(20.0, 0.25)),
}


@pytest.fixture(scope="module", params=MAKERS)
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    make, size, needed, demuxer, codec, declared = MAKERS[request.param]
    data = make(tmp_path_factory.mktemp("sound") / "sound", size)
    # Ogg tells a time with each page, and no length at its start.
    return Case(data, needed, demuxer, codec, declared, demuxer != "ogg")


@asynccontextmanager
async def spooled(folder: Path) -> AsyncIterator[Spool]:
    spool = await Spools(folder / "spool").create("upload")
    try:
        yield spool
    finally:
        await spool.abort()


async def waits_for_more(spool: Spool, size: int) -> None:
    """Whoever reads the spool has seen all that is there, and it isn't enough."""

    async def waits() -> bool:
        for _ in range(5):  # a reader that was told of the last bytes gets to them
            await asyncio.sleep(0)
        return spool.size >= size and spool._waiting_readers > 0

    await eventually(waits)


async def look(tools: FfmpegTools, data: bytes, folder: Path) -> Material:
    """Look into an upload that has ended."""
    spool = await Spools(folder / "spool").create("upload")
    await spool.append(data)
    await spool.seal()
    return await growing_material(tools, spool, folder)


async def test_a_long_header_is_read_as_it_grows(tools: FfmpegTools, large: Case, tmp_path: Path) -> None:
    """Once the header is there the file is understood, long before its end; what is fed is all of it."""
    assert len(large.data) > large.needed
    async with spooled(tmp_path) as spool, asyncio.timeout(WAIT_SECONDS):
        looking = asyncio.ensure_future(growing_material(tools, spool, tmp_path))
        await spool.append(large.data[: 64 * KIB])
        await waits_for_more(spool, 64 * KIB)
        await spool.append(large.data[64 * KIB : large.needed])
        material = await looking
        assert (spool.ended, spool.size) == (False, large.needed)
        assert material.feed is not None
        await spool.append(large.data[large.needed :])
        await spool.seal()
        assert b"".join([chunk async for chunk in material.feed]) == large.data
        assert material.path.samefile(spool.path)
    assert (material.input.path, material.input.demuxer) == (None, large.demuxer)
    assert material.source.codec == large.codec
    assert material.declared is not None
    assert material.declared.seconds < large.declared.seconds + 0.05
    if large.declared_at_start:
        assert_promises(material, large.declared)


async def test_less_than_the_header_is_waited_for(tools: FfmpegTools, large: Case, tmp_path: Path) -> None:
    """As long as the header is incomplete nothing is said of the file."""
    async with spooled(tmp_path) as spool:
        looking = asyncio.ensure_future(growing_material(tools, spool, tmp_path))
        await spool.append(large.data[: 70 * KIB])
        await waits_for_more(spool, 70 * KIB)
        assert not looking.done()
        await spool.abort()
        with pytest.raises(SpoolAborted):
            await looking


async def test_whole_and_growing_agree(tools: FfmpegTools, large: Case, tmp_path: Path) -> None:
    """The whole file is told the same of as the growing one, and what has ended while it was looked at, too."""
    path = tmp_path / "whole"
    path.write_bytes(large.data)
    whole, ended = await whole_material(tools, path), await look(tools, large.data, tmp_path)
    assert (whole.input.path, whole.path, whole.feed) == (path, path, None)
    same: dict[str, Any] = {"duration_seconds": None, "duration_estimated": False, "format_name": "", "pictures": 0}
    assert replace(whole.source, **same) == replace(ended.source, **same)
    assert_promises(whole, large.declared)
    assert_promises(ended, large.declared)
    assert whole.promised_bytes == ended.promised_bytes
    assert whole.promised_bytes in (None, len(large.data))


def assert_promises(material: Material, expected: Declared) -> None:
    assert material.declared is not None
    assert material.declared.seconds == pytest.approx(expected.seconds, abs=0.05)
    assert material.declared.tolerance_seconds == expected.tolerance_seconds


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".wav", ""), (".flac", ""), (".mp3", ""), (".ogg", ""), (".mka", "-c:a libopus"), (".aac", ""), (".au", "")],
)
async def test_small_files_are_understood(tools: FfmpegTools, tmp_path: Path, suffix: str, options: str) -> None:
    """A file that is all there before its first 64 KiB are full is read like any other."""
    data = tone(tmp_path / f"small{suffix}", seconds=0.3, channels=1, options=options).read_bytes()
    assert len(data) < 64 * KIB
    material = await look(tools, data, tmp_path)
    assert (material.source.channels, material.source.has_video) == (1, False)
    assert material.feed is not None
    assert b"".join([chunk async for chunk in material.feed]) == data


async def test_the_padding_of_an_encoder_is_cut_off(tools: FfmpegTools, tmp_path: Path) -> None:
    """From a pipe an MP3 is played to the sample that its tag names, as ffmpeg itself does with a file."""
    data = tone(tmp_path / "a.mp3", seconds=0.5, rate=44100).read_bytes()
    material = await look(tools, data, tmp_path)
    assert material.input.end_sample == 22050
    (tmp_path / "b.mp3").write_bytes(data)
    assert (await whole_material(tools, tmp_path / "b.mp3")).input.end_sample is None


NO_SOUND = {
    "text": b"All work and no play makes Jack a dull boy.\n" * 5000,
    "zeros": bytes(200 * KIB),
    "a picture": picture(100 * KIB),
    "a playlist": b"#EXTM3U\n#EXTINF:3,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "one byte": b"x",
    "a lone FLAC mark": b"fLaC" + bytes(200 * KIB),
    "a lone WAV header": b"RIFF\0\0\0\0WAVE" + bytes(200 * KIB),
    "a lone tag": b"ID3\3\0\0\0\0\0\x0a" + bytes(10),
    "a tag without end": b"ID3\3\0\0\x7f\x7f\x7f\x7f" + bytes(100 * KIB),
}


@pytest.mark.parametrize("name", NO_SOUND)
async def test_what_is_no_sound_is_refused(tools: FfmpegTools, tmp_path: Path, name: str) -> None:
    """Neither as it comes nor as a whole it passes for sound; the words of the refusal name no path."""
    path = tmp_path / "whole"
    path.write_bytes(NO_SOUND[name])
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(UnusableFile) as refused:
            await whole_material(tools, path)
        with pytest.raises((UnusableFile, InternalError)):
            await look(tools, NO_SOUND[name], tmp_path)
    assert str(tmp_path) not in refused.value.detail


async def test_an_index_at_the_end_is_not_waited_for(tools: FfmpegTools, tmp_path: Path) -> None:
    """An MP4 whose index comes last can't be decoded as it comes; as a whole it can."""
    path = tone(tmp_path / "song.m4a", seconds=1)
    with pytest.raises(InternalError, match="can't be decoded while it arrives"):
        await look(tools, path.read_bytes(), tmp_path)
    assert (await whole_material(tools, path)).source.codec == "aac"


async def test_a_header_without_end_is_given_up(tools: FfmpegTools, tmp_path: Path) -> None:
    """What isn't understood after 16 MiB is left to the whole file, while more still comes."""
    async with spooled(tmp_path) as spool, asyncio.timeout(WAIT_SECONDS):
        looking = asyncio.ensure_future(growing_material(tools, spool, tmp_path))
        await spool.append(b"fLaC" + struct.pack(">I", 1 << 24 | 0xFFFFFF))
        for _ in range(17):
            await spool.append(bytes(MIB))
        with pytest.raises(UnusableFile, match="header is too long"):
            await looking
        assert not spool.ended


async def test_a_file_that_states_its_size_has_it(tools: FfmpegTools, tmp_path: Path) -> None:
    """A Matroska file that lacks its end is refused as a whole, before it is decoded."""
    path = tone(tmp_path / "song.mka", seconds=3, options="-c:a flac")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnusableFile, match=r"1000 of \d+ bytes are missing"):
        await whole_material(tools, path)
    growing = await look(tools, path.read_bytes(), tmp_path)
    assert growing.promised_bytes == path.stat().st_size + 1000


async def test_a_wav_says_its_length_behind_long_chunks(tools: FfmpegTools, tmp_path: Path) -> None:
    """A WAV promises its sound wherever its data begins: tags, covers and padding may stand before it."""
    data = tone(tmp_path / "plain.wav", seconds=2, rate=8000, channels=1).read_bytes()
    at = data.index(b"data")
    body = data[8:at] + b"JUNK" + struct.pack("<I", 70_000) + bytes(70_000) + data[at:]
    path = tmp_path / "song.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    materials = [await whole_material(tools, path), await look(tools, path.read_bytes(), tmp_path)]
    assert [material.declared for material in materials] == [Declared(2.0, 0.005)] * 2
