"""A song is heard while it is separated: its playlists grow, what was served stays, and at the end all of it is there.

One song is watched by one look after the other; the tests ask what was seen.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import m3u8
import numpy as np
import pytest
import requests
from support.deadline import until
from support.player import play
from support.server import Server
from support.songs import RATE, TRACKS, completed_song, get_song, music, send_song, song_server, track_bytes, tracks_of
from support.sound import FFMPEG, decode

SECONDS = 33.3
SAMPLES = round(SECONDS * RATE)
WINDOW_SECONDS = 0.4
SEGMENTS = 6


@dataclass
class Watched:
    """What was seen of a song while it was separated; `early` are segments by their addresses as they were then."""

    song: str
    songs: list[dict[str, Any]] = field(default_factory=list)
    playlists: dict[str, list[str]] = field(default_factory=lambda: {track: [] for track in TRACKS})
    first_share: float = 100.0  # progress, once there was a segment
    early: dict[str, bytes] = field(default_factory=dict)
    master: str = ""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with song_server(tmp_path_factory.mktemp("live"), window_seconds=WINDOW_SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return music(tmp_path_factory.mktemp("song") / "song.flac", seconds=SECONDS)


@pytest.fixture(scope="module")
def watched(server: Server, file: Path) -> Watched:
    seen = Watched(send_song(server, file, model="slow"))
    seen.master = first_reply(master_url(server, seen.song)).text
    seen.first_share = get_song(server, seen.song)["progress"]
    while not seen.songs or seen.songs[-1]["completed_at"] is None:
        seen.songs.append(until(lambda: changed_song(server, seen)))
        for track in TRACKS:
            reply = get(playlist_url(server, seen.song, track))
            seen.playlists[track].append(reply.text)
            if len(seen.songs) == 1:
                first = urljoin(reply.url, m3u8.loads(reply.text).segments[0].uri)
                seen.early[first] = get(first).content
    assert seen.songs[-1]["status"] == "Completed", seen.songs[-1]
    return seen


def changed_song(server: Server, seen: Watched) -> dict[str, Any] | None:
    """The song once it isn't as it was seen last."""
    found = get_song(server, seen.song)
    return found if found not in seen.songs[-1:] else None


@pytest.fixture(scope="module")
def heard(server: Server, watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Each track as a player hears it at the end: int16 [sample, channel]."""
    folder = tmp_path_factory.mktemp("heard")
    return {track: play(playlist_url(server, watched.song, track), folder).sound for track in TRACKS}


def get(url: str) -> requests.Response:
    reply = requests.get(url, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply


def first_reply(url: str) -> requests.Response:
    """A playlist is held until there is a segment; where that takes long it is 503, and players come back."""

    def there() -> requests.Response | None:
        reply = requests.get(url, timeout=60)
        assert reply.status_code == 200 or reply.headers.get("Retry-After") == "2", reply.text
        return reply if reply.status_code == 200 else None

    return until(there, seconds=60)


def master_url(server: Server, song: str) -> str:
    return f"{server.url}/apiv1/stems/{song}/master.m3u8"


def playlist_url(server: Server, song: str, track: str) -> str:
    return f"{server.url}/apiv1/stems/{song}/{track}/index.m3u8"


def test_the_first_segment_is_there_soon(watched: Watched) -> None:
    """The playlists of all tracks have a segment before a quarter of the song is separated; the song tells of them."""
    assert watched.first_share < 25
    assert all(len(m3u8.loads(texts[0]).segments) >= 1 for texts in watched.playlists.values())
    first = watched.songs[0]
    assert (first["status"], first["phase"]) == ("Processing", "separating")
    assert first["master_url"]
    for track in tracks_of(first).values():
        assert track["playlist_url"]
        assert (track["mp3_url"], track["flac_url"], track["wav_url"]) == (None, None, None)


def test_what_was_served_stays(watched: Watched) -> None:
    """A segment that was served early has the same bytes at the end; it may be kept for ever, and comes in parts."""
    assert len(watched.early) == len(TRACKS)
    for url, early in watched.early.items():
        late = get(url)
        assert late.content == early
        assert "immutable" in late.headers["Cache-Control"]
        part = requests.get(url, headers={"Range": "bytes=10-19", "If-Range": late.headers["ETag"]}, timeout=30)
        assert (part.status_code, part.content) == (206, early[10:20])
        assert requests.get(url, headers={"Range": f"bytes={len(early)}-"}, timeout=30).status_code == 416
        assert requests.head(url, timeout=30).headers["Content-Length"] == str(len(early))


def test_playlists_only_grow(watched: Watched) -> None:
    """A playlist is an EVENT: each is the beginning of those that come later; only the last one has an end."""
    for texts in watched.playlists.values():
        known = [m3u8.loads(text) for text in texts]
        assert {found.playlist_type for found in known} == {"event"}
        assert {found.target_duration for found in known} == {known[-1].target_duration}
        assert {found.start.time_offset for found in known} == {0}
        counts = [len(found.segments) for found in known]
        assert counts == sorted(counts)
        assert (len(set(counts)) > 3, counts[-1]) == (True, SEGMENTS)
        *growing, whole = texts
        assert all(whole.startswith(text.removesuffix("#EXT-X-ENDLIST\n")) for text in growing)
        assert [found.is_endlist for found in known[:-1]].count(True) <= 1  # it may have ended between two looks
        assert known[-1].is_endlist


def test_progress_never_falls(watched: Watched) -> None:
    """Progress and revision only grow; what a song has been found to be stays."""
    for name in ("progress", "revision"):
        values = [found[name] for found in watched.songs]
        assert values == sorted(values)
    assert {found["duration_seconds"] for found in watched.songs} == {SAMPLES / RATE}


def test_all_tracks_lie_on_one_grid(watched: Watched) -> None:
    """Segments of one number are of one length in all tracks, whoever looks."""
    grids = {
        track: [segment.duration for segment in m3u8.loads(texts[-1]).segments]
        for track, texts in watched.playlists.items()
    }
    assert all(grid == grids["vocals"] for grid in grids.values())
    assert sum(grids["vocals"]) == pytest.approx(SECONDS, abs=1e-3)
    assert max(grids["vocals"]) < 7


def test_segments_are_the_whole_song(heard: dict[str, np.ndarray]) -> None:
    """Each track's segments, one after the other, decode to exactly the song's number of samples."""
    assert {track: sound.shape for track, sound in heard.items()} == dict.fromkeys(TRACKS, (SAMPLES, 2))


def test_the_instrumental_is_all_but_the_vocals(heard: dict[str, np.ndarray]) -> None:
    """The instrumental is the sum of all other stems, within the rounding of each of them."""
    stems = [heard[track].astype(int) for track in TRACKS if track not in ("vocals", "instrumental")]
    assert np.abs(sum(stems) - heard["instrumental"]).max() <= (len(stems) + 1) / 2


def test_master_playlists_play(server: Server, watched: Watched, heard: dict[str, np.ndarray]) -> None:
    """The master playlist names all tracks as renditions of one group; ffmpeg as a player hears each of them."""
    found = m3u8.loads(watched.master, uri=master_url(server, watched.song))
    assert found.is_variant
    assert [media.name for media in found.media] == list(TRACKS)
    assert {media.type for media in found.media} == {"AUDIO"}
    assert [media.default for media in found.media].count("YES") == 1
    for playlist in found.playlists:
        assert playlist.stream_info.codecs == "fLaC"
        assert playlist.stream_info.bandwidth >= 10_000
    for number, track in ((0, "vocals"), (len(TRACKS) - 1, "instrumental")):
        argv = [*FFMPEG, "-i", master_url(server, watched.song), "-map", f"0:a:{number}", "-f", "s16le", "pipe:1"]
        raw = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
        assert np.array_equal(np.frombuffer(raw, "<i2").reshape(-1, 2), heard[track])


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_lossless_files_are_the_segments(
    server: Server, watched: Watched, heard: dict[str, np.ndarray], suffix: str, tmp_path: Path
) -> None:
    """WAV and FLAC of a track have the samples of its segments, no more and no less."""
    for track in ("vocals", "instrumental"):
        saved = tmp_path / f"{track}.{suffix}"
        saved.write_bytes(track_bytes(server, watched.song, saved.name))
        assert np.array_equal(decode(saved), heard[track])


def test_mp3_files_are_the_same_sound(
    server: Server, watched: Watched, heard: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """The MP3 of a track has the length of its segments, and sounds like them."""
    for track in ("vocals", "instrumental"):
        saved = tmp_path / f"{track}.mp3"
        saved.write_bytes(track_bytes(server, watched.song, saved.name))
        sound = decode(saved)
        assert SAMPLES <= len(sound) <= SAMPLES + 1152
        assert np.corrcoef(dull(sound[:SAMPLES]), dull(heard[track]))[0, 1] > 0.9


def dull(sound: np.ndarray) -> np.ndarray:
    """The left channel without its highs, of which an MP3 leaves most out."""
    return np.convolve(sound[:, 0].astype(float), np.ones(32) / 32, "same")


@pytest.mark.thorough
def test_two_servers_make_the_same_bytes(
    server: Server, watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another server, at another pace, makes of the same song the same segments, byte for byte."""
    folder = tmp_path_factory.mktemp("other")
    short = music(folder / "short.wav", seconds=8, seed=1)
    with song_server(folder, SEPARATE__DEVICES='["cpu"]', WORKERS__PROCESSES="1") as other:
        song = send_song(other, short, model="slow")
        assert send_song(server, short, model="slow") == song
        made = [segments(one, song) for one in (other, server) if completed_song(one, song)]
    assert made[0] == made[1]
    assert len(made[0]) == 3 * len(TRACKS)


def segments(server: Server, song: str) -> list[bytes]:
    found = []
    for track in TRACKS:
        url = playlist_url(server, song, track)
        playlist = m3u8.loads(get(url).text)
        uris = [playlist.segment_map[0].uri, *(segment.uri for segment in playlist.segments)]
        assert all(re.fullmatch(r"[0-9a-f-]{36}/(init\.mp4|segment_\d{5}\.m4s)", uri) for uri in uris)
        found += [get(urljoin(url, uri)).content for uri in uris]
    return found
