"""Kinds of files that only their names tell."""

import pytest

from streamsrv.media.inputs import RAW_DEMUXERS
from streamsrv.media.raw import RawKind, headerless_words, raw_kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("call.g722", RawKind("g722")),
        ("CALL.G722", RawKind("g722")),
        ("two.dots.al", RawKind("alaw", 8000)),
        ("prompt.sln44", RawKind("sln", 44100)),
        ("prompt.sln192", RawKind("sln", 192000)),
        ("song.mp3", None),
        ("song.pcm", None),
        ("al", None),
        ("", None),
    ],
)
def test_a_suffix_is_a_kind(name: str, kind: RawKind | None) -> None:
    """Whatever its case; a name without a suffix is none."""
    assert raw_kind(name) == kind


def test_each_kind_has_a_verdict() -> None:
    """What a name may make ffmpeg open is in the table of verdicts."""
    names = ["g722", "g723_1", "g729", "al", "ul", "sbc", "dfpwm", "sln"]
    assert {kind.demuxer for name in names if (kind := raw_kind(f"a.{name}"))} == {*RAW_DEMUXERS}


@pytest.mark.parametrize(("name", "is_bare"), [("a.pcm", True), ("a.s16le", True), ("a.f32", True), ("a.al", False)])
def test_bare_samples_are_told(name: str, is_bare: bool) -> None:
    """Samples without a header can't be read, whoever made them."""
    assert (headerless_words(name) is not None) == is_bare
