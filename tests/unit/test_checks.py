"""The gate before Completed."""

from typing import Any

import pytest

from streamsrv.errors import DiskFull, EncoderKilled, InternalError, Problem, UnusableFile
from streamsrv.media.arguments import Encoding
from streamsrv.media.checks import Counted, check_declared_length, check_outcome, check_published
from streamsrv.media.declared import Declared
from streamsrv.media.ffmpeg import Outcome
from streamsrv.media.formats import CODECS

AAC = Encoding(codec=CODECS["aac"], sample_rate=48000, channels=2, bitrate_bps=128000)
FLAC = Encoding(codec=CODECS["flac"], sample_rate=48000, channels=2)
GOOD = {"returncode": 0, "decoded_samples": 441000, "encoded_samples": 480000, "packets": 470, "errors": ()}


def check(declared: Declared | None = None, max_seconds: float = 100.0, **changes: Any) -> None:
    outcome = Outcome(**{**GOOD, **changes})
    check_outcome(outcome, source_rate=44100, encoding=AAC, declared=declared, max_seconds=max_seconds)


def test_a_whole_result_passes() -> None:
    """Ten seconds that were declared, decoded and encoded."""
    check(Declared(10.0, 0.005))
    check(Declared(10.2, 0.25))
    check(None)


@pytest.mark.parametrize(
    ("error", "words", "changes"),
    [
        (UnusableFile, "ends in the middle", {"declared": Declared(20.0, 0.25)}),
        (UnusableFile, "ends in the middle", {"errors": ("File ended prematurely at pos. 7",)}),
        (UnusableFile, "ends in the middle", {"errors": ("stream 0, offset 0x2c: partial file",)}),
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
        (InternalError, "status 1", {"returncode": 1, "errors": ("something else",)}),
        (InternalError, "Less sound", {"encoded_samples": 400000}),
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
