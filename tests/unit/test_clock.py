"""When tracks begin, by what ffprobe says of streams and packets."""

from typing import Any

import pytest

from streamsrv.media.clock import Clock, late_seconds_of

AUDIO, VIDEO, TEXT = ({"codec_type": kind} for kind in ("audio", "video", "subtitle"))
COVER = VIDEO | {"disposition": {"attached_pic": 1}}


def at(stream: dict[str, Any], seconds: str) -> dict[str, Any]:
    return stream | {"start_time": seconds}


def packet(number: int, seconds: str) -> dict[str, Any]:
    return {"stream_index": number, "pts_time": seconds}


@pytest.mark.parametrize(
    ("streams", "packets", "late"),
    [
        ([at(AUDIO, "2.0")], [], 0.0),
        ([at(AUDIO, "2.0"), at(COVER, "0.0")], [], 0.0),
        ([at(AUDIO, "2.0"), at(TEXT, "0.0")], [], 0.0),
        ([at(AUDIO, "2.0"), at(AUDIO, "0.5")], [], 1.5),
        ([at(AUDIO, "0.5"), at(AUDIO, "2.0")], [], 0.0),
        ([at(AUDIO, "1.44"), at(VIDEO, "1.4")], [], 0.0),
        ([at(AUDIO, "1.5"), at(VIDEO, "1.4")], [], 0.1),
        # What is said of when pictures begin is a guess; their packets tell.
        ([at(AUDIO, "2.0"), at(VIDEO, "2.0")], [packet(1, "0.3"), packet(1, "0.1"), packet(0, "0.0")], 1.9),
        ([at(AUDIO, "2.0"), VIDEO], [packet(1, "N/A")], 0.0),
        ([at(AUDIO, "N/A"), at(VIDEO, "0.0")], [], 0.0),
        ([AUDIO, at(VIDEO, "0.0")], [], 0.0),
    ],
)
def test_a_track_is_late_by_what_another_one_is_earlier(
    streams: list[dict[str, Any]], packets: list[dict[str, Any]], late: float
) -> None:
    """Only sound and moving pictures count, by more than 50 ms; a lone track begins when it begins."""
    assert late_seconds_of(streams[0], {"streams": streams, "packets": packets}) == pytest.approx(late)


def test_a_clock_that_may_begin_anew_has_no_long_holes() -> None:
    """Of transport and programme streams a hole is ten seconds at most, of others as long as a sound may be."""
    for name, most in (("mpegts", "10*SR"), ("mpeg", "10*SR"), ("matroska,webm", "43200*SR")):
        assert f"gt(ld(2)-ld(3)\\,{most})" in Clock.of(name, 48000, 0.0).filters(43200.0)
