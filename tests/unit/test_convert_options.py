"""What a conversion may be asked for, and in what words."""

import json
import uuid
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.convert.options import ConvertOptions
from streamsrv.convert.schema import OPTION_FIELDS, format_reply, read_conversion_id, read_options
from streamsrv.errors import BadParameter
from streamsrv.media.cut import Cut
from streamsrv.media.formats import CODECS, FORMATS

ID = "550e8400-e29b-41d4-a716-446655440000"


def refusal(**fields: str) -> str:
    """The words in which these options are refused: some, and not as many as were sent."""
    with pytest.raises(BadParameter) as caught:
        read_options(fields, FORMATS)
    assert 10 < len(caught.value.detail) < 300
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "name"), [("mp3", "mp3"), (".MP3", "mp3"), (" Flac\n", "flac"), (".M4a", "m4a"), ("AAC", "aac")]
)
def test_formats_are_read_as_people_write_them(text: str, name: str) -> None:
    """With or without the dot, in capitals or not."""
    assert read_options({"format": text}, FORMATS).form is FORMATS[name]


@pytest.mark.parametrize("text", ["", " ", ".", "..mp3", "mp4", "mp 3", "mp3,wav", "ｍｐ３", "m\0p3", "x" * 100_000])
def test_an_unknown_format_is_answered_with_those_that_exist(text: str) -> None:
    """Each format that can be made is named, and no other."""
    assert refusal(format=text).endswith(f" There are: {', '.join(FORMATS)}.")


def test_formats_that_this_ffmpeg_lacks_do_not_exist() -> None:
    """What can be made depends on the encoders of this machine."""
    with pytest.raises(BadParameter, match=r"There are: wav, flac\.$"):
        read_options({"format": "mp3"}, {name: FORMATS[name] for name in ("wav", "flac")})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ConvertOptions()),
        ({"bitrate": "192k"}, ConvertOptions(bitrate_bps=192_000)),
        ({"bitrate": " 192K "}, ConvertOptions(bitrate_bps=192_000)),
        ({"bitrate": "192000"}, ConvertOptions(bitrate_bps=192_000)),
        ({"quality": "BEST"}, ConvertOptions(quality="best")),
        ({"quality": "low"}, ConvertOptions(quality="low")),
        ({"sample_rate": "44100"}, ConvertOptions(sample_rate=44100)),
        ({"channels": "1"}, ConvertOptions(channels=1)),
        ({"channels": "08"}, ConvertOptions(channels=8)),
        ({"start": "0"}, ConvertOptions()),
        ({"start": "1:02:03.5"}, ConvertOptions(cut=Cut(3723.5))),
        ({"start": "1:02"}, ConvertOptions(cut=Cut(62.0))),
        ({"start": "75.25"}, ConvertOptions(cut=Cut(75.25))),
        ({"start": "1000000"}, ConvertOptions(cut=Cut(1e6))),
        ({"start": "277:46:40"}, ConvertOptions(cut=Cut(1e6))),
        ({"duration": "0.000000001"}, ConvertOptions(cut=Cut(0.0, 1e-9))),
        ({"start": "0:00:01", "duration": "01:30.5"}, ConvertOptions(cut=Cut(1.0, 90.5))),
        ({"metadata": "keep"}, ConvertOptions()),
        ({"metadata": "Drop"}, ConvertOptions(keeps_metadata=False)),
        ({"format": "mp3", "bitrate": "8000"}, ConvertOptions(form=FORMATS["mp3"], bitrate_bps=8000)),
        ({"format": "opus", "sample_rate": "48000"}, ConvertOptions(form=FORMATS["opus"], sample_rate=48000)),
        ({"format": "wav", "sample_rate": "655340"}, ConvertOptions(form=FORMATS["wav"], sample_rate=655340)),
        ({"format": "mp3", "channels": "2"}, ConvertOptions(form=FORMATS["mp3"], channels=2)),
        ({"format": "flac", "channels": "8"}, ConvertOptions(form=FORMATS["flac"], channels=8)),
        ({"format": "m4a", "quality": "low"}, ConvertOptions(form=FORMATS["m4a"], quality="low")),
    ],
)
def test_options_are_read(fields: dict[str, str], expected: ConvertOptions) -> None:
    """Each in all the ways in which it can be written; what isn't given isn't asked for."""
    assert read_options(fields, FORMATS) == expected


HUGE = "9" * 5000
BAD = {
    "bitrate": ("192 k", "192kbps", "k", "1.5k", "-1", "+1", "0x10", "1e5", "١٩٢k", "192\u212a", "12345678", HUGE),
    "quality": ("highest", "0", "high,best", "high\0", HUGE),
    "sample_rate": ("44.1k", "44100 Hz", "-44100", "+44100", "0", "00", "४४१००", "4_4", "²", "1e4", "44100.0", HUGE),
    "channels": ("stereo", "0", "-2", "2.0", "２", "5.1", HUGE),
    "start": ("-1", "+1", "1h", "1:2:3:4", "1:60", "1:02:60", ":30", "1:", "1,5", ".5", "5.", "٣", "１", "1e3", "nan"),
    "duration": ("0", "0.0", "-1", "0:00", "0.0000000001", "all", "1:99", "४"),
    "metadata": ("yes", "true", "dropped", "keep drop"),
}
BAD_TOO = {"start": ("1000000.000000001", "277:46:40.1", "999:00:00", HUGE), "duration": ("9999999", HUGE, f"1:{HUGE}")}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for table in (BAD, BAD_TOO) for name, texts in table.items() for text in texts]
)
def test_impossible_values_are_refused_by_name(name: str, text: str) -> None:
    """Whatever can't be read is refused in words that name the option, with a short part of what was sent."""
    assert refusal(**{name: text}).startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bitrate": "128k", "quality": "low"}, "either bitrate or quality"),
        ({"format": "wav", "bitrate": "128k"}, "WAV is lossless and takes neither bitrate nor quality"),
        ({"format": "flac", "quality": "best"}, "FLAC is lossless"),
        ({"format": "mp3", "bitrate": "321k"}, "between 8000 and 320000 bits per second"),
        ({"format": "mp3", "bitrate": "7999"}, "between 8000 and 320000"),
        ({"format": "opus", "bitrate": "511k"}, "between 6000 and 510000"),
        ({"format": "ogg", "bitrate": "0"}, "between 16000 and 500000"),
        ({"format": "mp3", "channels": "3"}, "MP3 takes 2 channels at most"),
        ({"format": "wav", "channels": "9"}, "WAV takes 8 channels at most"),
        ({"format": "mp3", "sample_rate": "96000"}, "must be one of 8000, 11025, 12000, 16000, .*, 48000"),
        ({"format": "opus", "sample_rate": "44100"}, "sample_rate for Opus must be one of 48000"),
        ({"format": "wav", "sample_rate": "7999"}, "between 8000 and 655340 Hz"),
        ({"format": "flac", "sample_rate": "655351"}, "between 8000 and 655340 Hz"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, str], words: str) -> None:
    """A format is asked for what it can hold; the words say what that is."""
    with pytest.raises(BadParameter, match=words):
        read_options(fields, FORMATS)


def test_what_a_format_can_not_have_is_refused_once_it_is_known() -> None:
    """As long as the format isn't known nothing is held against an option that some format takes."""
    assert read_options({"channels": "8"}, FORMATS).channels == 8
    assert "at most" in refusal(channels="8", format="mp3")


@given(fields=st.dictionaries(st.sampled_from(OPTION_FIELDS), st.text(max_size=30)))
def test_any_text_is_read_or_refused(fields: dict[str, str]) -> None:
    """Nothing that is sent brings out another error than the one with words."""
    with suppress(BadParameter):
        assert read_options(fields, FORMATS).cut.start_seconds >= 0


@given(seconds=st.decimals(0, 1_000_000, places=3))
def test_times_are_the_same_in_both_notations(seconds: Any) -> None:
    """A time in seconds and the same as hours, minutes and seconds are one time."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    written = (f"{seconds}", f"{hours}:{minutes:02}:{rest}")
    starts = [read_options({"start": text}, FORMATS).cut.start_seconds for text in written]
    assert starts == pytest.approx([float(seconds)] * 2, abs=1e-9)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_shown_with_all_that_can_be_asked_of_it(name: str) -> None:
    """What the list of formats says can be asked for is taken, and what it says can't isn't."""
    shown = json.loads(json.dumps(format_reply(FORMATS[name])))
    assert set(shown) >= {"name", "title", "suffix", "media_type", "codec", "lossless", "channels", "cover_art"}
    assert shown["suffix"].startswith(".")
    assert (shown["bitrate"] is None) == shown["lossless"] == (shown["qualities"] == [])
    read_options({"format": name, "channels": str(shown["channels"])}, FORMATS)
    refusal(format=name, channels=str(shown["channels"] + 1))
    for rate in shown["sample_rates"] or (8000, 44100, 192000):
        read_options({"format": name, "sample_rate": str(rate)}, FORMATS)
    for quality in shown["qualities"]:
        read_options({"format": name, "quality": quality}, FORMATS)
    if shown["bitrate"]:
        for bound in shown["bitrate"].values():
            read_options({"format": name, "bitrate": str(bound)}, FORMATS)


def test_the_formats_that_were_promised_exist() -> None:
    """The document's and the design's formats are there, and each codec of the table is used or streamed."""
    assert {"mp3", "wav", "flac", "ogg", "opus", "m4a", "aac", "aiff"} <= set(FORMATS)
    used = {codec.name for form in FORMATS.values() for codec in form.codecs}
    assert used == set(CODECS)


@pytest.mark.parametrize("text", [ID, ID.upper()])
def test_a_conversion_has_a_name_in_one_spelling(text: str) -> None:
    """A UUID in capitals is the same one."""
    assert read_conversion_id(text) == str(uuid.UUID(ID))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        ID[:-1],
        f"{ID}0",
        f"{{{ID}}}",
        ID.replace("-", ""),
        "g" * 36,
        f"{ID} ",
        f"\u0661{ID[1:]}",
        f"{ID[0]}_{ID[2:]}",
    ],
)
def test_other_names_are_refused(text: str) -> None:
    """What isn't written as a UUID is refused, with an example."""
    with pytest.raises(BadParameter, match=r"e\.g\. 550e8400"):
        read_conversion_id(text)
