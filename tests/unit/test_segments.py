"""Reading finished segments through: whole ones are counted, any cut is noticed."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sound import tone

from streamsrv.errors import InternalError
from streamsrv.media.arguments import Encoding, Input, hls_arguments
from streamsrv.media.checks import check_init_section, count_segment
from streamsrv.media.formats import CODECS

RATE = 48000
SECONDS = 2.0


@pytest.fixture(scope="module", params=["aac", "mp3", "opus", "flac"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoding, list[bytes]]:
    """Segments of one second each, made by ffmpeg with the product's own arguments."""
    folder = tmp_path_factory.mktemp(request.param)
    codec = CODECS[request.param]
    encoding = Encoding(codec=codec, sample_rate=RATE, channels=2, bitrate_bps=None if codec.lossless else 128000)
    sound = tone(folder / "sound.wav", seconds=SECONDS, rate=RATE)
    argv = hls_arguments("ffmpeg", Input(path=sound), encoding, folder=folder, segment_seconds=1.0, max_seconds=60)
    subprocess.run(argv, check=True, cwd=folder, capture_output=True, timeout=60)
    return encoding, [path.read_bytes() for path in sorted(folder.glob("segment_*"))]


def test_whole_segments_are_counted(made: tuple[Encoding, list[bytes]]) -> None:
    """Full segments hold the same number of frames, in TS one more at most; none is too long; the sum is the sound."""
    encoding, segments = made
    samples = [count_segment(data, encoding).samples for data in segments]
    full = encoding.frames_per_segment(1.0) * encoding.frame_samples
    assert set(samples[:-1]) <= {full, full + encoding.frame_samples * (encoding.codec.segments == "ts")}
    assert max(samples) <= RATE
    extra = 0 if encoding.codec.lossless else 3 * encoding.frame_samples
    assert RATE * SECONDS <= sum(samples) <= RATE * SECONDS + extra


@pytest.mark.parametrize(
    ("name", "rate"), [("aac", 44100), ("aac", 22050), ("mp3", 44100), ("opus", 44100), ("flac", 44100)]
)
def test_no_segment_is_too_long_however_times_are_rounded(tmp_path: Path, name: str, rate: int) -> None:
    """Frames that don't fit the container's clock, a resampler between: still no segment exceeds its length."""
    codec = CODECS[name]
    encoding = Encoding(
        codec=codec,
        sample_rate=codec.nearest_rate(rate),
        channels=1,
        bitrate_bps=None if codec.lossless else 64000,
    )
    sound = tone(tmp_path / "sound.wav", seconds=100, rate=rate, channels=1)
    argv = hls_arguments("ffmpeg", Input(path=sound), encoding, folder=tmp_path, segment_seconds=2, max_seconds=600)
    subprocess.run(argv, check=True, cwd=tmp_path, capture_output=True, timeout=60)
    lengths = [count_segment(path.read_bytes(), encoding).samples for path in sorted(tmp_path.glob("segment_*"))]
    assert len(lengths) >= 50
    assert max(lengths) <= 2 * encoding.sample_rate
    if codec.segments == "fmp4":
        assert len(set(lengths[:-1])) == 1


def test_the_last_segment_may_be_empty(tmp_path: Path) -> None:
    """Where FLAC fills its last segment, ffmpeg adds one with nothing in it; all of the sound is in the others."""
    encoding = Encoding(codec=CODECS["flac"], sample_rate=RATE, channels=2)
    samples = 2 * encoding.frames_per_segment(1.0) * encoding.frame_samples
    sound = tone(tmp_path / "sound.wav", seconds=3, rate=RATE, options=f"-af atrim=end_sample={samples}")
    argv = hls_arguments("ffmpeg", Input(path=sound), encoding, folder=tmp_path, segment_seconds=1.0, max_seconds=60)
    subprocess.run(argv, check=True, cwd=tmp_path, capture_output=True, timeout=60)
    lengths = [count_segment(path.read_bytes(), encoding).samples for path in sorted(tmp_path.glob("segment_*"))]
    assert lengths == [samples // 2, samples // 2, 0]


@settings(max_examples=60)
@given(data=st.data())
def test_any_cut_is_noticed(made: tuple[Encoding, list[bytes]], data: st.DataObject) -> None:
    """A segment that lost any part of its end, as on a full disk, is never taken for a whole one."""
    encoding, segments = made
    whole = segments[0]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        counted = count_segment(cut, encoding)
    except InternalError:
        return
    assert counted.packets < count_segment(whole, encoding).packets


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"\0\0\0\x10moovabcdefg"])
def test_an_init_section_is_whole(data: bytes) -> None:
    """An empty or cut initialisation section isn't published."""
    with pytest.raises(InternalError):
        check_init_section(data)
