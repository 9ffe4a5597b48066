"""Songs of all kinds of files and recordings: separated like any other, in the time that the rule gives them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
import requests
from support.kinds import KINDS, SECONDS, TOLERANCE_SECONDS, make_kind
from support.odd_files import module
from support.recordings import RECORDINGS, make_recording
from support.server import Server
from support.songs import completed_song, ended_song, music, send_song, song_server, track_bytes
from support.sound import decode
from support.spread import thoroughly

RATE = 44100
TRIED_RECORDINGS = ("a hole in WebM",)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with song_server(tmp_path_factory.mktemp("songs")) as server:
        yield server


def stem_seconds(server: Server, file: Path, work: Path) -> float:
    """How long a stem of the song is, which is as long as the song says."""
    name = send_song(server, file)
    song = completed_song(server, name)
    path = work / "stem.flac"
    path.write_bytes(track_bytes(server, name, "base.flac"))
    seconds = len(decode(path)) / RATE
    assert seconds == pytest.approx(song["duration_seconds"], abs=0.001)
    assert song["lost_seconds"] == 0
    return seconds


@pytest.mark.parametrize("name", thoroughly(*KINDS))
def test_each_kind_is_separated(name: str, songs: Server, tmp_path: Path) -> None:
    """All of its sound is in the stems."""
    seconds = stem_seconds(songs, make_kind(tmp_path, name), tmp_path)
    assert seconds == pytest.approx(SECONDS, abs=TOLERANCE_SECONDS)


@pytest.mark.thorough
def test_a_module_is_separated(songs: Server, tmp_path: Path) -> None:
    """A tune of a tracker, too."""
    file = tmp_path / "tune.mod"
    file.write_bytes(module())
    assert stem_seconds(songs, file, tmp_path) == pytest.approx(7.7, abs=0.2)


@pytest.mark.parametrize(
    "name", [*TRIED_RECORDINGS, *thoroughly(*(name for name in RECORDINGS if name not in TRIED_RECORDINGS))]
)
def test_a_recording_is_separated_in_its_time(name: str, songs: Server, tmp_path: Path) -> None:
    """Joined, holed, late, drifting: its stems are as long as the rule of time says."""
    seconds = stem_seconds(songs, make_recording(tmp_path, name), tmp_path)
    assert seconds == pytest.approx(RECORDINGS[name].seconds, abs=0.05)


def test_a_damaged_song_is_told_or_put_up_with(songs: Server, tmp_path: Path) -> None:
    """It is Failed in words, tried once; sent again with errors=tolerate it is separated, and says what is missing."""
    file = music(tmp_path / "hole.mp3", seconds=6, options="-b:a 128k")
    data = file.read_bytes()
    file.write_bytes(data[:40_000] + bytes(5_000) + data[45_000:])
    name = send_song(songs, file)
    failed = ended_song(songs, name)
    assert (failed["status"], failed["error"][:34]) == ("Failed", "Sound is missing in the middle of ")
    assert 0.2 < failed["lost_seconds"] < 0.6
    assert send_song(songs, file, errors="tolerate") == name
    song = completed_song(songs, name)
    assert 0.2 < song["lost_seconds"] < 0.6
    assert song["duration_seconds"] == pytest.approx(6 - song["lost_seconds"], abs=0.1)


def test_all_who_want_a_zip_have_the_same(songs: Server, tmp_path: Path) -> None:
    """Twelve readers at once, and later ones, take no more of the disk than one; a removed track is in none of them."""
    name = send_song(songs, music(tmp_path / "song.flac", seconds=2, seed=5))
    completed_song(songs, name)
    address = f"{songs.url}/apiv1/archive/{name}.zip?format=wav"
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: requests.get(address, timeout=60), range(12)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    folder = songs.data_dir / "cache" / "tracks"
    assert len(list(folder.glob("*.zips/*.zip"))) == 1
    requests.delete(f"{songs.url}/apiv1/remove/{name}/base", timeout=30).raise_for_status()
    assert not list(folder.glob("*.zips/*.zip"))
    with ZipFile(BytesIO(requests.get(address, timeout=60).content)) as archive:
        assert "bass.wav" not in archive.namelist()
        assert len(archive.namelist()) == len(ZipFile(BytesIO(replies[0].content)).namelist()) - 1
