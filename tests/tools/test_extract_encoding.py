"""Samples in, one checked file out: every format, every depth, and what isn't let through."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.sound import decode

from streamsrv.errors import InternalError
from streamsrv.extract.encoding import Encoder, Made
from streamsrv.extract.schema import FORMAT_NAMES
from streamsrv.media.arguments import Pcm
from streamsrv.media.feed import Piece
from streamsrv.media.formats import FORMATS
from streamsrv.media.tools import FfmpegTools

RATE = 44100
STEREO = Pcm(sample_rate=RATE, layout="stereo", channels=2, depth_bits=16)
NOISE = np.random.default_rng(1).integers(-20000, 20000, size=(2 * RATE, 2)).astype("<i2")


@pytest.fixture
def encoder(tools: FfmpegTools) -> Encoder:
    return Encoder(tools, max_seconds=100.0)


async def pieces(data: bytes) -> AsyncIterator[Piece]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


async def encode(encoder: Encoder, data: bytes, folder: Path, form: str = "flac", grid: Pcm = STEREO) -> Made:
    return await encoder.encode(pieces(data), grid, FORMATS[form], folder)


@pytest.mark.parametrize("form", FORMAT_NAMES)
async def test_every_format_holds_the_sound(encoder: Encoder, tmp_path: Path, form: str) -> None:
    """What comes out is as long as what went in; of lossless formats each sample is the same."""
    made = await encode(encoder, NOISE.tobytes(), tmp_path, form)
    sound = decode(made.path)
    rate = made.encoding.sample_rate
    assert made.samples == len(NOISE)
    assert len(sound) / rate == pytest.approx(2.0, abs=0.03)
    if made.encoding.codec.lossless:
        assert np.array_equal(sound, NOISE)


@pytest.mark.parametrize("form", ["flac", "wav"])
@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1(side)", 6), ("7.1", 8)])
async def test_24_bits_are_kept(encoder: Encoder, tmp_path: Path, form: str, layout: str, channels: int) -> None:
    """Lossless formats keep 24 bits of as many channels as there are."""
    grid = replace(STEREO, layout=layout, channels=channels, depth_bits=24)
    data = np.random.default_rng(2).bytes(RATE * grid.frame_bytes)
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    made, again = [await encode(encoder, data, folder, form, grid) for folder in folders]
    assert made.sha256 == again.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert (made.samples, made.encoding.channels) == (RATE, channels)
    assert decode(made.path).shape == (RATE, channels)


async def test_progress_is_told(encoder: Encoder, tmp_path: Path) -> None:
    """What the encoder has taken is told in seconds, more and more."""
    told: list[float] = []
    await encoder.encode(pieces(NOISE.tobytes() * 45), STEREO, FORMATS["mp3"], tmp_path, told.append)
    assert told == sorted(told)
    assert 0 < told[-1] <= 90.0


async def test_half_a_sample_is_no_sound(encoder: Encoder, tmp_path: Path) -> None:
    """Samples that aren't whole don't pass for a file."""
    data = NOISE.tobytes()
    made = await encode(encoder, data[:-1], tmp_path, "wav")
    assert made.samples == len(NOISE) - 1


async def test_what_breaks_off_is_no_file(encoder: Encoder, tmp_path: Path) -> None:
    """An error of the samples' source is raised, whatever the encoder has made of them."""

    async def broken() -> AsyncIterator[Piece]:
        yield NOISE.tobytes()
        raise InternalError("A part of the sound is gone.")

    with pytest.raises(InternalError, match="gone"):
        await encoder.encode(broken(), STEREO, FORMATS["flac"], tmp_path)
