"""Verdicts on what an input may make ffmpeg open."""

from collections import Counter

import pytest

from streamsrv.media.inputs import (
    AUDIO_DECODERS,
    DEMUXERS,
    FOREIGN_DEMUXERS,
    RAW_DEMUXERS,
    REFUSED_DECODERS,
    REFUSED_DEMUXERS,
    without_verdict,
)


@pytest.mark.parametrize(
    ("taken", "refused"),
    [((*DEMUXERS, *RAW_DEMUXERS, *FOREIGN_DEMUXERS), REFUSED_DEMUXERS), (AUDIO_DECODERS, REFUSED_DECODERS)],
)
def test_there_is_one_verdict_on_each(taken: tuple[str, ...], refused: dict[str, tuple[str, ...]]) -> None:
    """Nothing is named twice, and whatever is refused is so for a reason in words."""
    names = [*taken, *(name for group in refused.values() for name in group)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert all(reason.endswith(".") for reason in refused)


@pytest.mark.parametrize(
    "name",
    ["concat", "hls", "dash", "image2", "imf", "mlv", "vobsub", "sdp", "rtsp", "lavfi", "sbg", "alsa", "x11grab"],
)
def test_what_opens_more_than_its_input_is_never_taken(name: str) -> None:
    """Playlists, scripts, devices and the net."""
    assert name not in (*DEMUXERS, *RAW_DEMUXERS)


def test_what_nobody_has_decided_on_is_told() -> None:
    """A newer ffmpeg reads more; that isn't taken by itself."""
    assert without_verdict(["wav", "concat", "holograms"], ["flac", "sonic", "telepathy"]) == (
        ["holograms"],
        ["telepathy"],
    )
