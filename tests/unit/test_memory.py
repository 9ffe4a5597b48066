"""How much memory a child may have."""

from typing import Any

import pytest

from streamsrv.media.memory import MOST_BYTES, decoding_memory, probe_memory

MIB = 1 << 20


def test_a_small_file_has_little() -> None:
    """Whatever its tables say, a file of two kilobytes isn't looked into with gigabytes."""
    assert probe_memory(1669) < 200 * MIB
    small = decoding_memory(1669, format_name="mov,mp4,m4a", seconds=60.0, sample_rate=44100, channels=1)
    assert small < 300 * MIB


def test_a_long_one_has_room() -> None:
    """For the index of twelve hours, and for the longest hole, up to what anybody may have."""
    half_a_million_packets = 40 * MIB
    assert probe_memory(half_a_million_packets) > 500 * MIB
    hour: dict[str, Any] = {"seconds": 2400.0, "sample_rate": 48000, "channels": 2}
    assert decoding_memory(60_000, format_name="matroska,webm", **hour) > 1587 * MIB
    assert decoding_memory(8 << 30, format_name="flac", **hour) == MOST_BYTES


@pytest.mark.parametrize(("form", "has_room"), [("matroska,webm", True), ("ogg", True), ("mov,mp4,m4a", False)])
def test_where_nobody_says_how_long_it_is(form: str, has_room: bool) -> None:
    """A recorder's file has room for its pauses; one whose tables may stand for anything hasn't."""
    found = decoding_memory(60_000, format_name=form, seconds=None, sample_rate=48000, channels=2)
    assert (found == MOST_BYTES) == has_room


def test_what_grows_has_an_index_that_is_bounded() -> None:
    """Nobody knows yet how large it will be."""
    growing = decoding_memory(None, format_name="mov,mp4,m4a", seconds=60.0, sample_rate=44100, channels=2)
    assert 256 * MIB < growing < 700 * MIB
