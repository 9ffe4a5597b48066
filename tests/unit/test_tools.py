"""What is said of an ffmpeg that lacks something."""

import pytest

from streamsrv.media.formats import CODECS
from streamsrv.media.tools import FfmpegTools

ENCODERS = frozenset(codec.encoder for codec in CODECS.values())


@pytest.mark.parametrize("version", ["5.1.9-0+deb12u1", "5.1", "7.0.2", "n6.1.1", "12.0", "N-118000-g1234567", ""])
def test_a_complete_ffmpeg_lacks_nothing(version: str) -> None:
    """5.1 and later will do; one without a number was built by somebody who knows."""
    assert FfmpegTools("ffmpeg", "ffprobe", version=version, encoders=ENCODERS).shortcomings() == []


@pytest.mark.parametrize("version", ["4.4.2-0ubuntu0.22.04.1", "n5.0", "0.8"])
def test_an_old_ffmpeg_is_told(version: str) -> None:
    """An older one is named, with the one that is needed."""
    (line,) = FfmpegTools("ffmpeg", "ffprobe", version=version, encoders=ENCODERS).shortcomings()
    assert version in line
    assert "5.1 or later" in line


def test_a_missing_encoder_is_told() -> None:
    """Without an encoder its codec can't be made, and nothing else."""
    (line,) = FfmpegTools("ffmpeg", "ffprobe", version="5.1", encoders=ENCODERS - {"libopus"}).shortcomings()
    assert "libopus" in line
