"""Options and a source settle every number of an encoding, and a command line says them to ffmpeg."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from streamsrv.encoding.options import QUALITIES, EncodingOptions, check_options, encoding_for
from streamsrv.errors import BadParameter
from streamsrv.media.arguments import Cargo, Encoding, Input, file_arguments
from streamsrv.media.formats import CODECS, FORMATS, MAX_RATE, MIN_RATE, Format
from streamsrv.media.inputs import AUDIO_DECODERS, DEMUXERS, PICTURE_DECODERS
from streamsrv.media.probe import Source

LAYOUT_CHANNELS = {
    "mono": 1,
    "stereo": 2,
    "3.0": 3,
    "4.0": 4,
    "quad": 4,
    "5.0": 5,
    "5.1": 6,
    "6.1": 7,
    "7.1": 8,
}


def source(rate: int = 44100, channels: int = 2, bits: int = 16, *, is_float: bool = False) -> Source:
    return Source(
        format_name="wav",
        codec="pcm",
        sample_rate=rate,
        channels=channels,
        depth_bits=24 if is_float else bits,
        duration_seconds=None,
        duration_estimated=False,
        has_video=False,
        is_float=is_float,
    )


SOURCES = st.builds(
    source,
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 88200, 96000, 192000]) | st.integers(8000, 192000),
    channels=st.integers(1, 8),
    bits=st.sampled_from([16, 20, 24, 32]),
    is_float=st.booleans(),
)
OPTIONS = st.builds(
    EncodingOptions,
    bitrate_bps=st.none() | st.integers(6000, 512_000),
    quality=st.none() | st.sampled_from(QUALITIES),
    sample_rate=st.none() | st.sampled_from([8000, 11025, 44100, 48000, 96000, 192000]),
    channels=st.none() | st.integers(1, 8),
)
FORMS = st.sampled_from(list(FORMATS.values()))


def settle(form: Format, options: EncodingOptions, made_of: Source) -> Encoding:
    """The encoding; options that are refused are no case."""
    try:
        check_options(options, form)
    except BadParameter:
        assume(False)
    return encoding_for(form, options, made_of)


@example(form=FORMATS["opus"], options=EncodingOptions(), made_of=source(88200))
@given(form=FORMS, options=OPTIONS, made_of=SOURCES)
def test_rate_and_channels_are_possible(form: Format, options: EncodingOptions, made_of: Source) -> None:
    """What was asked for, else what the source has, else what the codec has that comes next."""
    encoding = settle(form, options, made_of)
    codec = encoding.codec
    assert codec in form.codecs
    if options.sample_rate:
        assert encoding.sample_rate == options.sample_rate
    elif not codec.rates or made_of.sample_rate in codec.rates:
        in_tens = 10 if codec.name == "flac" and made_of.sample_rate > 65535 else 1
        assert encoding.sample_rate == made_of.sample_rate // in_tens * in_tens
    else:
        above = [rate for rate in codec.rates if rate > made_of.sample_rate]
        assert encoding.sample_rate == min(above) if above else encoding.sample_rate in codec.rates
    assert MIN_RATE <= encoding.sample_rate <= MAX_RATE
    assert encoding.channels == min(options.channels or made_of.channels, codec.max_channels)


@given(form=FORMS, options=OPTIONS, made_of=SOURCES)
def test_strength_is_said_once(form: Format, options: EncodingOptions, made_of: Source) -> None:
    """A lossless encoding has neither a bit rate nor a quality, every other one has one of them."""
    encoding = settle(form, options, made_of)
    assert (encoding.bitrate_bps is not None) + (encoding.quality is not None) == (not encoding.codec.lossless)
    if options.bitrate_bps is not None:
        assert encoding.bitrate_bps is not None
        assert encoding.bitrate_bps <= options.bitrate_bps
    if encoding.codec.name == "opus":
        assert encoding.bitrate_bps is not None
        assert encoding.bitrate_bps <= 256_000 * encoding.channels  # libopus takes no more
    if encoding.codec.name == "aac":
        assert encoding.bitrate_bps is not None
        assert encoding.bitrate_bps <= 6144 * encoding.channels * encoding.sample_rate / 1024  # the frame's size


@given(form=FORMS, options=OPTIONS, made_of=SOURCES)
def test_channels_have_the_layout_that_the_codec_means(form: Format, options: EncodingOptions, made_of: Source) -> None:
    """A layout has as many channels as the encoding. The source's own stays only where the codec takes every one."""
    encoding = settle(form, options, made_of)
    if encoding.layout is None:
        assert encoding.codec.layouts is None
        assert encoding.channels == made_of.channels
    else:
        assert LAYOUT_CHANNELS[encoding.layout] == encoding.channels
        assert encoding.codec.layouts is None or encoding.layout in encoding.codec.layouts


@given(form=FORMS, made_of=SOURCES)
def test_no_depth_is_lost_that_the_format_can_hold(form: Format, made_of: Source) -> None:
    """A lossless encoding has the bits of the source, or as many as there are in the format; never more than needed."""
    encoding = encoding_for(form, EncodingOptions(), made_of)
    assume(encoding.codec.lossless)
    kept = encoding.codec.depth_bits
    assert kept >= min(made_of.depth_bits, max(codec.depth_bits for codec in form.codecs))
    if encoding.sample_format is not None:
        wide = encoding.sample_format.startswith(("s32", "flt"))
        assert wide == (made_of.depth_bits > 16)
    if encoding.codec.is_pcm and not made_of.is_float:
        assert kept == max(16, made_of.depth_bits if made_of.depth_bits != 20 else 24)


@pytest.mark.parametrize(
    ("form", "made_of", "encoder", "sample_format"),
    [
        ("wav", source(bits=16), "pcm_s16le", None),
        ("wav", source(bits=24), "pcm_s24le", None),
        ("wav", source(bits=32), "pcm_s32le", None),
        ("wav", source(is_float=True), "pcm_f32le", None),
        ("caf", source(is_float=True), "pcm_f32le", None),
        ("caf", source(bits=32), "pcm_s32le", None),
        ("aiff", source(bits=32), "pcm_s32be", None),
        ("aiff", source(is_float=True), "pcm_s24be", None),
        ("flac", source(bits=16), "flac", "s16"),
        ("flac", source(bits=24), "flac", "s32"),
        ("flac", source(is_float=True), "flac", "s32"),
        ("mka", source(bits=32), "flac", "s32"),
        ("alac", source(bits=16), "alac", "s16p"),
        ("alac", source(bits=24), "alac", "s32p"),
        ("wv", source(bits=16), "wavpack", "s16p"),
        ("wv", source(bits=32), "wavpack", "s32p"),
        ("wv", source(is_float=True), "wavpack", "fltp"),
        ("mp3", source(bits=24), "libmp3lame", None),
    ],
)
def test_depths(form: str, made_of: Source, encoder: str, sample_format: str | None) -> None:
    """Each kind of sample goes to the encoder that keeps it."""
    encoding = encoding_for(FORMATS[form], EncodingOptions(), made_of)
    assert (encoding.codec.encoder, encoding.sample_format) == (encoder, sample_format)


@pytest.mark.parametrize(
    ("form", "options", "made_of", "bitrate", "quality"),
    [
        ("mp3", {}, source(), None, 2.0),
        ("mp3", {"quality": "best"}, source(), None, 0.0),
        ("ogg", {"quality": "low"}, source(), None, 2.0),
        ("ogg", {"bitrate_bps": 128_000}, source(), 128_000, None),
        ("m4a", {}, source(), 192_000, None),
        ("m4a", {"quality": "low"}, source(channels=1), 48_000, None),
        ("m4a", {"bitrate_bps": 512_000}, source(8000, 1), 48_000, None),
        ("opus", {"quality": "best"}, source(channels=6), 576_000, None),
        ("opus", {"bitrate_bps": 510_000}, source(channels=1), 256_000, None),
        ("webm", {}, source(), 128_000, None),
        ("flac", {}, source(), None, None),
    ],
)
def test_strengths(
    form: str, options: dict[str, Any], made_of: Source, bitrate: int | None, quality: float | None
) -> None:
    """Quality is on the encoder's own scale where it has one; bit rates grow with the channels and are bounded."""
    encoding = encoding_for(FORMATS[form], EncodingOptions(**options), made_of)
    assert (encoding.bitrate_bps, encoding.quality) == (bitrate, quality)


def argv(
    *,
    given: Input | None = None,
    form: str = "mp3",
    cargo: Cargo | None = None,
    path: Path = Path("/out/song.mp3"),
    **options: Any,
) -> list[str]:
    encoding = encoding_for(FORMATS[form], EncodingOptions(**options), source())
    given = given or Input(path=Path("/in/song"))
    return file_arguments("ffmpeg", given, encoding, FORMATS[form], cargo or Cargo(), path=path, max_seconds=60)


def value(words: list[str], option: str) -> str:
    """What is given to an option that may be there once."""
    assert words.count(option) == 1
    return words[words.index(option) + 1]


@pytest.mark.parametrize("name", ["-y", "-rf.wav", "--help", "a b'c\"d", "%05d", "x,y[0]", "a\nb"])
def test_a_path_is_no_option(name: str) -> None:
    """Input and output are words of their own, and absolute: whatever they are called, neither begins with '-'."""
    given, path = Path("/in") / name, Path("/out") / name
    words = argv(given=Input(path=given), path=path)
    assert value(words, "-i") == str(given)
    # Behind the output stand only options of the whole.
    assert [word for word in words if word.endswith(name)] == [str(given), str(path)]
    assert words[words.index(str(path)) - 2] in ("-map_metadata", "-metadata:s:a:0")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pictures", [True, False])
@pytest.mark.parametrize("piped", [True, False])
def test_an_input_opens_nothing_but_sound(form: str, pictures: bool, piped: bool) -> None:
    """Whitelists stand before the input: of protocols, demuxers, decoders. Pictures get the two of covers at most."""
    given = Input(demuxer="mp3") if piped else Input(path=Path("/in/song"))
    words = argv(given=given, form=form, cargo=Cargo(tags_from=("0:g",), pictures=pictures))
    before = words[: words.index("-i")]
    assert value(before, "-protocol_whitelist") == ("pipe" if piped else "file")
    assert value(before, "-format_whitelist").split(",") == list(DEMUXERS)
    decoders = set(value(before, "-codec_whitelist").split(","))
    assert decoders == {*AUDIO_DECODERS, *(PICTURE_DECODERS if pictures else ())}
    assert ("-vn" in before) != pictures
    assert {"-sn", "-dn"} <= set(before)
    assert value(words, "-i") == ("pipe:0" if piped else "/in/song")
    assert ("-f" in before) == piped


def test_pictures_go_along_as_they_are() -> None:
    """With pictures each attached one is copied and a film isn't; without, nothing but the sound is mapped."""
    with_them, without = argv(cargo=Cargo(tags_from=("0:g",), pictures=True)), argv(cargo=Cargo(tags_from=("0:g",)))
    maps = [with_them[at + 1] for at, word in enumerate(with_them) if word == "-map"]
    assert maps == ["0:a:0", "0:v?", "-0:V?"]
    assert value(with_them, "-vcodec") == "copy"
    assert value(without, "-map") == "0:a:0"
    assert "-vcodec" not in without


def test_tags_go_along_from_where_they_are() -> None:
    """Each place of tags is named, what containers note about themselves is emptied, chapters never come along."""
    words = argv(cargo=Cargo(tags_from=("0:g", "0:s:a:0")))
    assert [words[at + 1] for at, word in enumerate(words) if word == "-map_metadata"] == ["0:g", "0:s:a:0"]
    emptied = {words[at + 1] for at, word in enumerate(words) if word.startswith("-metadata")}
    assert {"major_brand=", "DURATION="} <= emptied
    assert all(word.endswith("=") for word in emptied)
    dropped = argv(cargo=Cargo())
    assert value(dropped, "-map_metadata") == "-1"
    assert "-metadata" not in dropped
    assert value(words, "-map_chapters") == value(dropped, "-map_chapters") == "-1"


def test_a_part_is_cut_by_samples() -> None:
    """The cut is made of decoded samples, before they are resampled: no seeking, which isn't exact."""
    words = argv(given=Input(path=Path("/in/song"), start_sample=100, end_sample=200), sample_rate=8000)
    assert value(words, "-af").startswith("atrim=start_sample=100:end_sample=200,aresample=8000,")
    assert "-ss" not in words
    assert value(argv(given=Input(path=Path("/in/song"), end_sample=7)), "-af").startswith("atrim=end_sample=7,")
    assert "atrim" not in value(argv(), "-af")


@pytest.mark.parametrize("form", FORMATS)
def test_files_are_the_same_each_time(form: str) -> None:
    """Muxers and encoders run bitexact, with the format's own options and its encoder; a second more than the limit."""
    words = argv(form=form)
    assert (value(words, "-fflags"), value(words, "-flags")) == ("+bitexact", "+bitexact")
    assert value(words, "-f") == FORMATS[form].muxer
    assert value(words, "-acodec") in {codec.encoder for codec in FORMATS[form].codecs}
    assert value(words, "-t") == "61"
    for name, text in FORMATS[form].options.items():
        assert value(words, f"-{name}") == str(text)


def test_strength_is_said_to_the_encoder() -> None:
    """A bit rate, a quality or a sample format is said where there is one, and not else."""
    assert value(argv(bitrate_bps=96_000), "-b:a") == "96000"
    assert value(argv(quality="low"), "-q:a") == "6"
    assert value(argv(form="flac"), "-sample_fmt") == "s16"
    assert not {"-b:a", "-q:a", "-sample_fmt"} & set(argv(form="wav"))


def test_all_codecs_have_layouts_for_all_their_channels() -> None:
    """A table of layouts has a row for each number of channels that the codec takes."""
    for codec in CODECS.values():
        layouts = codec.layouts or ()
        assert [LAYOUT_CHANNELS[name] for name in layouts] == list(range(1, len(layouts) + 1))
        assert codec.layouts is None or len(layouts) >= codec.max_channels
