"""Playlists as RFC 8216 has them."""

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsrv.media.playlist import Entry, bandwidth, finished_segment, render_event, render_master, render_vod

ENTRIES = [Entry("segment_00001.m4s", 5.944308), Entry("segment_00002.m4s", 1.5)]


def test_a_finished_job_has_a_vod_playlist() -> None:
    """VOD, ended, with the init section named, and numbered from 1."""
    text = render_vod(ENTRIES, init="init.mp4", segment_seconds=6)
    playlist = m3u8.loads(text)
    assert (playlist.playlist_type, playlist.is_endlist, playlist.media_sequence) == ("vod", True, 1)
    assert playlist.segment_map[0].uri == "init.mp4"
    assert playlist.version >= 6
    assert [segment.uri for segment in playlist.segments] == [entry.name for entry in ENTRIES]


def test_a_growing_playlist_stays_an_event() -> None:
    """EVENT while it grows and after its end (section 6.2.1), and players begin at its start, not at its edge."""
    growing = render_event(ENTRIES, init=None, segment_seconds=6, ended=False)
    ended = render_event(ENTRIES, init=None, segment_seconds=6, ended=True)
    assert m3u8.loads(growing).playlist_type == m3u8.loads(ended).playlist_type == "event"
    assert m3u8.loads(growing).start.time_offset == 0
    assert ended == growing + "#EXT-X-ENDLIST\n"


@given(st.lists(st.floats(0.01, 6.0), max_size=30), st.integers(0, 30))
def test_a_growing_playlist_only_grows(lengths: list[float], more: int) -> None:
    """What was listed stays as it was: each version begins with the one before."""
    entries = [Entry(f"segment_{number:05}.ts", seconds) for number, seconds in enumerate(lengths, 1)]
    first = render_event(entries[:more], init=None, segment_seconds=6, ended=False)
    assert render_event(entries, init=None, segment_seconds=6, ended=True).startswith(first)


@given(st.lists(st.floats(0.01, 6.0), min_size=1, max_size=30))
def test_no_segment_is_longer_than_the_target(lengths: list[float]) -> None:
    """EXTINF never exceeds EXT-X-TARGETDURATION (section 4.3.3.1)."""
    entries = [Entry(f"segment_{number:05}.ts", seconds) for number, seconds in enumerate(lengths, 1)]
    playlist = m3u8.loads(render_vod(entries, init=None, segment_seconds=6))
    assert all(segment.duration <= playlist.target_duration for segment in playlist.segments)


def test_master_names_codec_and_bandwidth() -> None:
    """A multivariant playlist has BANDWIDTH and CODECS, which players need before they open the rendition."""
    playlist = m3u8.loads(render_master("live.m3u8", codecs="mp4a.40.2", bandwidth_bps=270000, average_bps=256000))
    assert playlist.is_variant
    stream = playlist.playlists[0]
    assert (stream.uri, stream.stream_info.codecs, stream.stream_info.bandwidth) == ("live.m3u8", "mp4a.40.2", 270000)


def test_bandwidth_leaves_out_a_short_end() -> None:
    """The last segment may hold hardly a frame and says nothing of the peak; alone it counts."""
    assert bandwidth([(1000, 1.0), (1000, 2.0), (1000, 0.01)])[0] == 8000
    assert bandwidth([(1000, 0.5)]) == (16000, 16000)
    assert bandwidth([(700, 0.0)]) == (1, 1)


@pytest.mark.parametrize(
    ("line", "number"),
    [("segment_00001.ts", 1), ("segment_123456.m4s\r", 123456), ("#EXTINF:6,", None), ("init.mp4", None), ("", None)],
)
def test_finished_segments_are_read_from_ffmpegs_playlist(line: str, number: int | None) -> None:
    """Only a segment's name is news."""
    assert finished_segment(line) == number
