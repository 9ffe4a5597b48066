"""ffprobe's reports, read."""

from typing import Any

import pytest

from streamsrv.errors import UnusableFile
from streamsrv.media.probe import read_probe


def report(container: dict[str, Any] | None = None, **audio: Any) -> dict[str, Any]:
    stream = {"codec_type": "audio", "codec_name": "pcm_s16le", "sample_rate": "44100", "channels": 2, **audio}
    return {"streams": [stream], "format": {"format_name": "wav", **(container or {})}}


@pytest.mark.parametrize(
    ("audio", "bits"),
    [
        ({"codec_name": "pcm_u8", "bits_per_sample": 8}, 16),
        ({"codec_name": "pcm_s16le", "bits_per_sample": 16}, 16),
        ({"codec_name": "pcm_s24le", "bits_per_sample": 24}, 24),
        ({"codec_name": "pcm_s32le", "bits_per_sample": 32}, 32),
        ({"codec_name": "pcm_f32le", "sample_fmt": "flt", "bits_per_sample": 32}, 24),
        ({"codec_name": "flac", "bits_per_raw_sample": "24"}, 24),
        ({"codec_name": "mp3", "bits_per_sample": 0}, 16),
        ({"codec_name": "aac"}, 16),
    ],
)
def test_depth(audio: dict[str, Any], bits: int) -> None:
    """Lossless codecs keep their depth, within 16 and 32 bit; floats keep 24, and lossy ones count as 16 bit."""
    assert read_probe(report(**audio)).depth_bits == bits


def test_duration_is_the_tracks() -> None:
    """The track's own length counts before the container's, which may be that of the picture."""
    assert read_probe(report({"duration": "9.0"}, duration="8.5")).duration_seconds == 8.5
    assert read_probe(report({"duration": "9.0"}, tags={"DURATION": "00:01:02.500000000"})).duration_seconds == 62.5
    assert read_probe(report({"duration": "9.0"})).duration_seconds == 9.0
    assert read_probe(report({"duration": "N/A"})).duration_seconds is None
    with_picture = report({"duration": "9.0"})
    with_picture["streams"].append({"codec_type": "video", "disposition": {"attached_pic": 0}})
    assert read_probe(with_picture).duration_seconds is None


def test_cover_art_is_no_video() -> None:
    """A file with a picture in its tags is a song, not a film."""
    with_art = report({"duration": "9.0"})
    with_art["streams"].append({"codec_type": "video", "disposition": {"attached_pic": 1}})
    assert read_probe(with_art).has_video is False
    assert read_probe(with_art).duration_seconds == 9.0


@pytest.mark.parametrize(
    "broken", [{"streams": []}, {}, {"streams": [{"codec_type": "video"}]}, report(sample_rate="0"), report(channels=0)]
)
def test_no_sound_is_said_in_words(broken: dict[str, Any]) -> None:
    """A file without an audio track that can be decoded is refused."""
    with pytest.raises(UnusableFile):
        read_probe(broken)
