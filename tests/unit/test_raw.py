"""Kinds of files that only their names tell."""

import pytest

from streamsrv.errors import UnusableFile
from streamsrv.media.inputs import FOREIGN_DEMUXERS, RAW_DEMUXERS
from streamsrv.media.raw import RawKind, headerless_words, kind_here, raw_kind


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
    names = ["g722", "g723_1", "g729", "al", "ul", "sbc", "dfpwm", "sln", "xm"]
    assert {kind.demuxer for name in names if (kind := raw_kind(f"a.{name}"))} == {*RAW_DEMUXERS, *FOREIGN_DEMUXERS}


@pytest.mark.parametrize(("name", "is_bare"), [("a.pcm", True), ("a.s16le", True), ("a.f32", True), ("a.al", False)])
def test_bare_samples_are_told(name: str, is_bare: bool) -> None:
    """Samples without a header can't be read, whoever made them."""
    assert (headerless_words(name) is not None) == is_bare


def test_modules_need_a_sandbox() -> None:
    """A large foreign library reads them, and never without a wall around it."""
    assert kind_here("tune.mod", sandboxed=True) == RawKind("libopenmpt", is_foreign=True)
    with pytest.raises(UnusableFile, match="walled in"):
        kind_here("tune.mod", sandboxed=False)
    assert kind_here("song.mp3", sandboxed=False) is None
