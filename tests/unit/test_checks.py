"""The gate before Completed."""

from typing import Any

import pytest

from streamsrv.errors import BadParameter, DamagedFile, DiskFull, EncoderKilled, InternalError, Problem, UnusableFile
from streamsrv.media.arguments import Encoding
from streamsrv.media.checks import (
    Counted,
    check_declared_length,
    check_file,
    check_outcome,
    check_published,
)
from streamsrv.media.cut import WHOLE, Cut
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.formats import CODECS
from streamsrv.media.integrity.declared import Declared
from streamsrv.media.probe import Measured

AAC = Encoding(codec=CODECS["aac"], sample_rate=48000, channels=2, bitrate_bps=128000)
FLAC = Encoding(codec=CODECS["flac"], sample_rate=48000, channels=2)
WAV = Encoding(codec=CODECS["pcm_s16le"], sample_rate=48000, channels=2)
GOOD: dict[str, Any] = {
    "returncode": 0,
    "decoded_samples": 441000,
    "encoded_samples": 480000,
    "packets": 470,
    "errors": (),
    "sample_rate": 44100,
}


def check(declared: Declared | None = None, max_seconds: float = 100.0, cut: Cut = WHOLE, **changes: Any) -> None:
    outcome = Outcome(**{**GOOD, **changes})
    check_outcome(outcome, encoding=AAC, declared=declared, max_seconds=max_seconds, cut=cut)


def test_a_whole_result_passes() -> None:
    """Ten seconds that were declared, decoded and encoded."""
    check(Declared(10.0, 0.005))
    check(Declared(10.2, 0.25))
    check(None)


def test_silence_in_holes_counts() -> None:
    """What is promised, decoded and encoded is time: two seconds of silence went in."""
    check(Declared(12.0, 0.005), filled_samples=2 * 44100, encoded_samples=12 * 48000)
    check(cut=Cut(11.0), filled_samples=2 * 44100, encoded_samples=48000)


@pytest.mark.parametrize(
    ("error", "words", "changes"),
    [
        (DamagedFile, "ends in the middle", {"declared": Declared(20.0, 0.25)}),
        (DamagedFile, "ends in the middle", {"errors": ("File ended prematurely at pos. 7",)}),
        (DamagedFile, "ends in the middle", {"errors": ("stream 0, offset 0x2c: partial file",)}),
        (UnusableFile, "longer than 9.5 s", {"max_seconds": 9.5}),
        (UnusableFile, "no sound", {"decoded_samples": 0}),
        (UnusableFile, "can't be decoded", {"returncode": 1, "errors": ("Invalid data found when processing input",)}),
        (
            UnusableFile,
            "channels or its sample rate",
            {"returncode": 1, "errors": ("Failed to configure output pad on Parsed_aresample_0",)},
        ),
        (UnusableFile, "takes too long", {"returncode": -24}),
        (DiskFull, "no space left", {"returncode": 1, "errors": ("av_interleaved: No space left on device",)}),
        (EncoderKilled, "signal 9", {"returncode": -9}),
        (UnusableFile, "breaks down over this file", {"returncode": -6}),
        (UnusableFile, "can't be decoded", {"returncode": 1, "decoded_samples": 0, "complainers": frozenset({"wv"})}),
        (InternalError, "The encoder failed", {"returncode": 1, "errors": ("something else",)}),
        (InternalError, "Less sound", {"encoded_samples": 400000}),
        (InternalError, "More sound", {"encoded_samples": 490000}),
        (InternalError, "Less sound", {"filled_samples": 44100}),
        (UnusableFile, "longer than 0:10", {"filled_samples": 44100, "max_seconds": 10.5}),
    ],
)
def test_each_failure_has_its_words(error: type[Problem], words: str, changes: dict[str, Any]) -> None:
    """The input's faults are told from ours, each in a sentence; the first are final, ours are tried again."""
    with pytest.raises(error, match=words) as caught:
        check(**changes)
    assert type(caught.value) is error


def test_warnings_about_renaming_are_no_faults() -> None:
    """ffmpeg says "temporary partial files" on every run into a pipe."""
    check(errors=("Cannot use rename on non file protocol, this may lead to races and temporary partial files",))


def test_every_packet_is_published() -> None:
    """What the encoder handed over and what the segments hold is compared: by packets, for FLAC by samples."""
    outcome = Outcome(**GOOD)
    check_published(outcome, Counted(470, 481280), AAC)
    check_published(outcome, Counted(469, 480000), FLAC)
    with pytest.raises(InternalError):
        check_published(outcome, Counted(469, 480256), AAC)
    with pytest.raises(InternalError):
        check_published(outcome, Counted(470, 479999), FLAC)


def test_what_is_too_long_is_refused_before_it_is_decoded() -> None:
    """A day of silence is a small file."""
    with pytest.raises(UnusableFile, match="24:00:00 long"):
        check_declared_length(Declared(86400.0, 0.005), 43200.0)
    check_declared_length(Declared(43200.0, 0.005), 43200.0)
    check_declared_length(None, 1.0)


@pytest.mark.parametrize(
    ("cut", "changes"),
    [
        (Cut(4.0), {"encoded_samples": 6 * 48000}),
        (Cut(4.0, 2.0), {"encoded_samples": 2 * 48000}),
        (Cut(4.0, 60.0), {"encoded_samples": 6 * 48000}),
        (Cut(0.0, 2.0), {"encoded_samples": 2 * 48000, "decoded_samples": 3 * 44100}),
        (
            Cut(0.0, 2.0),
            {"encoded_samples": 2 * 48000, "decoded_samples": 2 * 44100, "declared": Declared(60.0, 0.005)},
        ),
    ],
)
def test_a_part_is_as_long_as_was_asked(cut: Cut, changes: dict[str, Any]) -> None:
    """Of a part there must be what lies in the sound, and the sound need not have been decoded beyond its end."""
    check(cut=cut, **{"declared": Declared(10.0, 0.005), **changes})


@pytest.mark.parametrize(
    ("error", "words", "cut", "changes"),
    [
        (BadParameter, "behind the end of the sound, which is 0:10 long", Cut(10.0), {"encoded_samples": 0}),
        (BadParameter, "start lies behind the end", Cut(3600.0, 1.0), {"encoded_samples": 0}),
        (DamagedFile, "ends in the middle", Cut(4.0), {"declared": Declared(20.0, 0.25)}),
        (DamagedFile, "ends in the middle", Cut(30.0), {"declared": Declared(20.0, 0.25), "encoded_samples": 0}),
        (DamagedFile, "ends in the middle", Cut(0.0, 11.0), {"declared": Declared(20.0, 0.25)}),
        (UnusableFile, "too short for this format", Cut(4.0), {"encoded_samples": 0}),
        (UnusableFile, "longer than 9.5 s", Cut(0.0, 1.0), {"max_seconds": 9.5, "encoded_samples": 48000}),
        (InternalError, "Less sound", Cut(4.0), {"encoded_samples": 5 * 48000}),
        (InternalError, "Less sound", Cut(4.0, 2.0), {"encoded_samples": 48000}),
    ],
)
def test_a_part_that_is_missing_has_its_words(
    error: type[Problem], words: str, cut: Cut, changes: dict[str, Any]
) -> None:
    """A start behind the end is the request's fault, a file that ends before the part does is the file's."""
    with pytest.raises(error, match=words) as caught:
        check(cut=cut, **changes)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("encoding", "measured"),
    [
        (AAC, Measured(470, 10.0)),
        (AAC, Measured(471, 10.08)),
        (FLAC, Measured(469, 10.0)),
        (WAV, Measured(3, 10.0)),
    ],
)
def test_a_whole_file_passes(encoding: Encoding, measured: Measured) -> None:
    """All packets are there, and the header states the length within a few frames."""
    check_file(measured, Outcome(**GOOD), encoding)


@pytest.mark.parametrize(
    ("words", "encoding", "measured"),
    [
        ("not written completely", AAC, None),
        ("not written completely", AAC, Measured(469, 10.0)),
        ("not written completely", FLAC, Measured(468, 10.0)),
        ("not written completely", WAV, None),
        ("states 9.900 s and holds 10.000 s", AAC, Measured(470, 9.9)),
        ("states 10.100 s and holds 10.000 s", AAC, Measured(470, 10.1)),
        ("states 0.000 s", WAV, Measured(470, 0.0)),
        ("states 9.999 s", WAV, Measured(470, 9.999)),
        ("states 9.600 s", FLAC, Measured(470, 9.6)),
    ],
)
def test_a_file_that_is_not_whole_is_our_fault(words: str, encoding: Encoding, measured: Measured | None) -> None:
    """A file that can't be read, lacks a packet or states another length than it has is never sent."""
    with pytest.raises(InternalError, match=words):
        check_file(measured, Outcome(**GOOD), encoding)
