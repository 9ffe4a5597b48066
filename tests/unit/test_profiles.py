"""Options and sources settle encodings."""

import pytest

from streamsrv.errors import BadParameter
from streamsrv.hls.profiles import Profile, choose, stream_encoding
from streamsrv.hls.schema import StreamOptions, read_job_id, read_options
from streamsrv.media.probe import Source


def source(rate: int = 44100, channels: int = 2, bits: int = 16) -> Source:
    return Source(
        format_name="wav",
        codec="pcm",
        sample_rate=rate,
        channels=channels,
        depth_bits=bits,
        duration_seconds=None,
        duration_estimated=False,
        has_video=False,
    )


@pytest.mark.parametrize(
    ("given", "profile"),
    [
        ((None, None, None), Profile("aac", 256000)),
        (("high", None, None), Profile("aac", 256000)),
        (("medium", None, None), Profile("aac", 160000)),
        (("low", None, None), Profile("aac", 96000)),
        (("hi_res", None, None), Profile("flac", None)),
        (("low", "opus", None), Profile("opus", 96000)),
        (("low", None, 64000), Profile("aac", 64000)),
        ((None, "mp3", 320000), Profile("mp3", 320000)),
        (("low", "flac", None), Profile("flac", None)),
        (("hi_res", "aac", None), Profile("aac", 256000)),
    ],
)
def test_codec_and_bitrate_override_the_profile(
    given: tuple[str | None, str | None, int | None], profile: Profile
) -> None:
    """The profile is a codec with a bit rate; what is given besides wins."""
    assert choose(*given) == profile


@pytest.mark.parametrize(
    "given",
    [("hi_res", None, 128000), (None, "flac", 1), (None, "mp3", 320001), (None, "aac", 7999), (None, "aac", -5)],
)
def test_impossible_combinations_are_refused(given: tuple[str | None, str | None, int | None]) -> None:
    """A lossless codec takes no bit rate, and each other one has its bounds."""
    with pytest.raises(BadParameter):
        choose(*given)


@pytest.mark.parametrize(
    ("codec", "given", "rate"),
    [
        ("aac", 44100, 44100),
        ("aac", 192000, 96000),
        ("aac", 176400, 88200),
        ("mp3", 96000, 48000),
        ("mp3", 88200, 44100),
        ("mp3", 9000, 11025),
        ("opus", 44100, 48000),
        ("flac", 192000, 192000),
        ("flac", 1000, 8000),
        ("flac", 768000, 384000),
    ],
)
def test_the_sources_rate_is_kept_where_the_codec_has_it(codec: str, given: int, rate: int) -> None:
    """Else the next one that the codec has, or the largest of the same family."""
    assert stream_encoding(Profile(codec, None if codec == "flac" else 128000), source(given)).sample_rate == rate


def test_depth_and_channels() -> None:
    """FLAC keeps 16 or 24 bit and up to 8 channels; lossy streams are mixed down to stereo, mono stays mono."""
    assert stream_encoding(Profile("flac", None), source(bits=24, channels=6)).sample_format == "s32"
    assert stream_encoding(Profile("flac", None), source()).sample_format == "s16"
    assert stream_encoding(Profile("flac", None), source(channels=6)).channels == 6
    assert stream_encoding(Profile("aac", 128000), source(channels=6)).channels == 2
    assert stream_encoding(Profile("aac", 128000), source(channels=1)).channels == 1
    assert stream_encoding(Profile("opus", 500000), source(channels=1)).bitrate_bps == 256000


def test_options_are_read_strictly() -> None:
    """Each mistake names the parameter and what it can be."""
    assert read_options({}) == StreamOptions()
    assert read_options({"bitrate": "96000", "other": "x"}).bitrate == 96000
    for fields, words in [
        ({"codec": "vorbis"}, "codec must be one of aac, mp3, opus, flac"),
        ({"quality_profile": "best"}, "quality_profile must be one of hi_res"),
        ({"priority": "now"}, "priority must be one of urgent"),
        ({"bitrate": "fast"}, "bitrate must be a whole number"),
        ({"bitrate": "1e5"}, "bitrate must be a whole number"),
        ({"bitrate": "128_000"}, "bitrate must be a whole number"),
        ({"bitrate": "\u0661\u0662\u0668000"}, "bitrate must be a whole number"),
    ]:
        with pytest.raises(BadParameter, match=words):
            read_options(fields)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "550e8400e29b41d4a716446655440000", "../../../../etc/passwd-----------------"),
        *(
            "\u0665" + "50e8400-e29b-41d4-a716-446655440000",
            "{550e8400e29b41d4-a716-446655440000}",
            "5_0e8400-e29b-41d4-a716-446655440000",
        ),
    ],
)
def test_a_job_id_is_a_uuid(text: str) -> None:
    """In its canonical form only, since it becomes part of keys."""
    with pytest.raises(BadParameter):
        read_job_id(text)
