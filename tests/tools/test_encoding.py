"""One run of ffmpeg to one checked result: what comes out, what is told meanwhile, and whose fault it is where not."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.deadline import eventually
from support.sound import decode, tone

from streamsrv.encoding.files import FileEncoder
from streamsrv.encoding.options import EncodingOptions, encoding_for
from streamsrv.encoding.run import Progress
from streamsrv.encoding.segments import SegmentEncoder
from streamsrv.encoding.source import EncoderSource
from streamsrv.errors import DiskFull, EncoderKilled, InternalError, UnusableFile
from streamsrv.media.arguments import Pcm
from streamsrv.media.child import kill_group_of
from streamsrv.media.cut import Cut
from streamsrv.media.formats import FORMATS
from streamsrv.media.material import whole_material
from streamsrv.media.tools import FfmpegTools

RATE = 44100
PCM = Pcm(sample_rate=RATE, layout="stereo", channels=2, depth_bits=16)
NOISE = np.random.default_rng(1).integers(-20000, 20000, size=(14 * RATE, 2)).astype("<i2")
FLAC = encoding_for(FORMATS["flac"], EncodingOptions(), PCM)


@pytest.fixture
def files(tools: FfmpegTools) -> FileEncoder:
    return FileEncoder(tools, max_seconds=100.0)


@pytest.fixture
def segments(tools: FfmpegTools) -> SegmentEncoder:
    return SegmentEncoder(tools, segment_seconds=6, max_seconds=100.0)


def samples(sound: np.ndarray = NOISE) -> EncoderSource:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(sound), RATE):
            yield sound[start : start + RATE].tobytes()

    return EncoderSource.of_samples(PCM, pieces())


@pytest.mark.parametrize("form", ["flac", "wav", "mp3", "m4a", "opus"])
async def test_samples_become_a_file(files: FileEncoder, tmp_path: Path, form: str) -> None:
    """A file has all samples that went in, and says how many came out; how far it is is told in what went in."""
    path, told = tmp_path / f"sound{FORMATS[form].suffix}", [0]

    async def report(progress: Progress) -> None:
        told.append(progress.fed_bytes)

    encoding = encoding_for(FORMATS[form], EncodingOptions(), PCM)
    made = await files.encode(samples(), encoding, FORMATS[form], path, report=report)
    assert (made.path, made.outcome.decoded_samples) == (path, len(NOISE))
    assert made.seconds == pytest.approx(14.0, abs=0.05)
    assert told == sorted(told)
    assert told[-1] <= NOISE.nbytes
    if encoding.codec.lossless:
        assert np.array_equal(decode(path), NOISE)


async def test_a_cut_is_counted_in_samples(files: FileEncoder, tools: FfmpegTools, tmp_path: Path) -> None:
    """Of a whole file the part is encoded that was asked for, to the sample."""
    song = tone(tmp_path / "song.flac", seconds=3)
    source = EncoderSource.of_material(await whole_material(tools, song), Cut(0.5, 1.25))
    path = tmp_path / "part.flac"
    made = await files.encode(source, FLAC, FORMATS["flac"], path)
    assert made.samples == round(1.25 * RATE)
    assert np.array_equal(decode(path), decode(song)[RATE // 2 :][: made.samples])


async def test_what_the_feed_raises_is_raised(files: FileEncoder, tmp_path: Path) -> None:
    """An error of whoever hands over the sound is told as it is, whatever the encoder made of the beginning."""

    async def broken() -> AsyncIterator[bytes]:
        yield NOISE.tobytes()
        raise OSError(errno.EIO, "the disk that it comes from")

    with pytest.raises(OSError, match="the disk that it comes from"):
        await files.encode(EncoderSource.of_samples(PCM, broken()), FLAC, FORMATS["flac"], tmp_path / "sound.flac")


async def test_a_file_without_sound_is_the_inputs_fault(
    files: FileEncoder, segments: SegmentEncoder, tmp_path: Path
) -> None:
    """Where nothing went in, the input is said to be without sound, for files and for segments."""
    nothing = NOISE[:0]
    with pytest.raises(UnusableFile, match="no sound"):
        await files.encode(samples(nothing), FLAC, FORMATS["flac"], tmp_path / "sound.flac")

    async def examine(numbers: Sequence[int], _progress: Progress) -> None:
        if numbers:
            raise InternalError("The first segment has nothing in it.")

    folder = tmp_path / "segments"
    folder.mkdir()
    with pytest.raises(UnusableFile, match="no sound"):
        await segments.encode(samples(nothing), FLAC, folder, examine)


@pytest.mark.parametrize("left", [0, 100])
async def test_a_file_that_is_not_there_is_our_fault_or_the_disks(
    files: FileEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """What is missing though ffmpeg ended well is missing for a full disk where there is no space, else it is ours."""
    path = tmp_path / "sound.wav"

    async def losing() -> AsyncIterator[bytes]:
        yield NOISE.tobytes()
        await eventually(path.exists)
        path.unlink()

    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_bavail=left << 20, f_frsize=1))
    wav = encoding_for(FORMATS["wav"], EncodingOptions(), PCM)
    with pytest.raises(DiskFull if not left else InternalError):
        await files.encode(EncoderSource.of_samples(PCM, losing()), wav, FORMATS["wav"], path)


async def test_segments_are_told_in_their_order(segments: SegmentEncoder, tmp_path: Path) -> None:
    """Each finished segment is told of once, when it is there; joined, they are all samples that went in."""
    told: list[int] = []

    async def note(numbers: Sequence[int], _progress: Progress) -> None:
        assert all((tmp_path / f"segment_{number:05}.m4s").exists() for number in numbers)
        told.extend(numbers)

    outcome = await segments.encode(samples(), FLAC, tmp_path, note)
    assert (told, outcome.encoded_samples) == ([1, 2, 3], len(NOISE))
    joined = tmp_path / "joined.mp4"
    names = ["init.mp4", *(f"segment_{number:05}.m4s" for number in told)]
    joined.write_bytes(b"".join((tmp_path / name).read_bytes() for name in names))
    assert np.array_equal(decode(joined), NOISE)


async def test_whoever_takes_segments_may_refuse(segments: SegmentEncoder, tmp_path: Path) -> None:
    """An error of whoever is told of segments ends the encoder, and is raised as it is."""
    fed = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal fed
        while fed < 1000:  # else this would go on for ever
            fed += 1
            yield NOISE.tobytes()

    async def refuse(numbers: Sequence[int], _progress: Progress) -> None:
        if 2 in numbers:
            raise DiskFull

    with pytest.raises(DiskFull):
        await segments.encode(EncoderSource.of_samples(PCM, endless()), FLAC, tmp_path, refuse)
    assert fed < 100


async def test_a_killed_encoder_is_said(
    files: FileEncoder, tmp_path: Path, own_children: Callable[[], set[int]]
) -> None:
    """An encoder that was killed says nothing of its input."""

    async def stalling() -> AsyncIterator[bytes]:
        yield NOISE.tobytes()
        await asyncio.Event().wait()

    async def kill(_progress: Progress) -> None:
        for pid in own_children():
            kill_group_of(pid, ended=False)

    source = EncoderSource.of_samples(PCM, stalling())
    with pytest.raises(EncoderKilled):
        await files.encode(source, FLAC, FORMATS["flac"], tmp_path / "sound.flac", report=kill)
