"""Songs of all kinds, against what Demucs itself makes of the same sound; and those that can't be separated."""

import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from demucs.apply import apply_model
from demucs.pretrained import get_model
from support.models import save_bag
from support.server import Server
from support.songs import (
    RATE,
    TRACKS,
    completed_song,
    ended_song,
    music,
    send_song,
    song_server,
    track_bytes,
    tracks_of,
)
from support.sound import FFMPEG, decode
from support.spread import thoroughly

# Half a step of 16 bit, and what floats that are added up in another order are off by.
EXACT = 0.5 / 32767 + 1e-5
MISSING_SECONDS = 1.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("songs")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with song_server(folder) as server:
        save_bag(folder / "models", "broken", ["7e570001", "lost"])
        yield server


def film(path: Path) -> Path:
    """A video whose sound is the second track."""
    sound = music(path.with_suffix(".wav"), seconds=2, seed=5)
    video = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=2")
    subprocess.run([*FFMPEG, *video, "-i", str(sound), "-c:a", "flac", str(path)], check=True, timeout=60)
    return path


@dataclass(frozen=True)
class Song:
    """How a song is made, and which sound Demucs is given: `heard` changes how ffmpeg decodes the file."""

    make: Callable[[Path], Path]
    heard: str = ""
    options: tuple[tuple[str, str], ...] = ()

    def fields(self) -> dict[str, str]:
        return dict(self.options)


def sound(name: str, **how: Any) -> Callable[[Path], Path]:
    return lambda folder: music(folder / name, **how)


SPREAD = "pan=stereo|c0=c0|c1=c0,"
SONGS = {
    "a song": Song(sound("song.wav", seconds=4)),
    "six stems": Song(sound("six.wav", seconds=2, seed=1), options=(("model", "tiny6"), ("overlap", "0.1"))),
    "no overlap": Song(sound("none.wav", seconds=2.3, seed=3), options=(("overlap", "0.0"),)),
    "exactly a window": Song(sound("window.wav", seconds=1, seed=4)),
    "much too loud": Song(sound("loud.wav", seconds=2, seed=6, loudness=1.5)),
    "an MP3": Song(sound("song.mp3", seconds=3, seed=7)),
    "mono": Song(sound("mono.flac", seconds=2, channels=1, seed=8), heard=SPREAD),
    "8 kHz": Song(sound("low.wav", seconds=2, rate=8000, channels=1, seed=9), heard=SPREAD),
    "96 kHz": Song(sound("high.flac", seconds=2, rate=96000, seed=10, options="-sample_fmt s32")),
    "5.1": Song(sound("wide.flac", seconds=2, channels=6, seed=11, loudness=0.05)),
    "a film": Song(lambda folder: film(folder / "film.mkv")),
    "one sample": Song(sound("one.wav", seconds=1 / RATE, seed=12)),
    "a third of a second": Song(sound("short.wav", seconds=0.3, seed=13)),
    "silence": Song(sound("silence.wav", seconds=2, loudness=0.0)),
    "almost silence": Song(sound("whisper.wav", seconds=2, loudness=1e-4, options="-c:a pcm_f32le")),
}
# Of each thing that makes them differ one; `make test-all` has all.
SOME = ("a song", "5.1", "one sample", "silence")


class Sent(dict[str, tuple[Path, str]]):
    """The file of each song, and its hash; a song is made and sent when it is asked for."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__()
        self._server = server
        self._folder = folder

    def __missing__(self, name: str) -> tuple[Path, str]:
        file = SONGS[name].make(self._folder)
        self[name] = file, send_song(self._server, file, **SONGS[name].fields())
        return self[name]


@pytest.fixture(scope="module")
def songs(server: Server, folder: Path) -> Sent:
    return Sent(server, folder)


def heard(file: Path, filters: str) -> np.ndarray:
    """The file's sound as a model of stereo hears it, float32 [channel, sample]."""
    argv = [*FFMPEG, "-i", str(file), "-map", "a:0"]
    form = "sample_fmts=flt:channel_layouts=stereo"
    argv += ["-af", f"{filters}aresample={RATE},aformat={form}", "-f", "f32le", "pipe:1"]
    raw = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, 2).T


def stems_of_demucs(mix: np.ndarray, models: Path, name: str, overlap: float) -> dict[str, np.ndarray]:
    """What `demucs.api.Separator` makes of it, without its random shifts; each stem by its name, and all but vocals."""
    model = get_model(name, models)
    song = torch.from_numpy(mix.copy())
    reference = song.mean(0)
    # The deviation of a single sample is nothing, not unknown.
    std = (reference.std() if reference.numel() > 1 else torch.zeros(())) + 1e-8
    with torch.no_grad():
        made = apply_model(model, ((song - reference.mean()) / std)[None], shifts=0, overlap=overlap)[0]
    stems = dict(zip(model.sources, (made * std + reference.mean()).numpy(), strict=True))
    return stems | {"instrumental": sum(stem for name, stem in stems.items() if name != "vocals")}


@pytest.mark.parametrize("name", [*SOME, *thoroughly(*(name for name in SONGS if name not in SOME))])
def test_tracks_are_what_demucs_makes(
    server: Server, songs: dict[str, tuple[Path, str]], folder: Path, name: str, tmp_path: Path
) -> None:
    """Each track is Demucs's stem, sample for sample within 16 bit; what is too loud is cut at 0.99, and counted."""
    file, song = songs[name]
    fields = SONGS[name].fields()
    found = completed_song(server, song)
    mix = heard(file, SONGS[name].heard)
    expected = stems_of_demucs(mix, folder / "models", found["model"], found["overlap"])
    assert found["duration_seconds"] == mix.shape[-1] / RATE
    assert set(tracks_of(found)) == set(expected)
    for track, told in tracks_of(found).items():
        saved = tmp_path / f"{track}.wav"
        saved.write_bytes(track_bytes(server, song, saved.name))
        made = decode(saved).T / 32767
        assert made.shape == mix.shape
        assert np.abs(made - np.clip(expected[track], -0.99, 0.99)).max() <= EXACT, track
        least, most = (np.count_nonzero(np.abs(expected[track]) > 1 + off) for off in (EXACT, -EXACT))
        assert least <= told["clipped_samples"] <= most
    if "loud" in name:
        assert tracks_of(found)["vocals"]["clipped_samples"] > 100
    assert {name: str(found[name]) for name in fields} == fields


def test_mp3_tracks_have_the_songs_length(server: Server, songs: dict[str, tuple[Path, str]], tmp_path: Path) -> None:
    """The MP3 of a track plays for as long as the song, also of the shortest one."""
    for name in ("a song", "one sample", "silence"):
        _, song = songs[name]
        samples = round(completed_song(server, song)["duration_seconds"] * RATE)
        for track in TRACKS:
            saved = tmp_path / "track.mp3"
            saved.write_bytes(track_bytes(server, song, f"{track}.mp3"))
            assert samples <= len(decode(saved)) <= samples + 1152, name


def half(name: str, **how: Any) -> Callable[[Path], Path]:
    """Of three seconds the first half of the file."""

    def make(folder: Path) -> Path:
        file = music(folder / name, seconds=2 * MISSING_SECONDS, seed=20, **how)
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
        return file

    return make


def no_number(value: float) -> Callable[[Path], Path]:
    """A WAV of floats, of which one in the middle is none."""

    def make(folder: Path) -> Path:
        file = music(folder / f"{value}.wav", seconds=2, seed=21, options="-c:a pcm_f32le")
        data = bytearray(file.read_bytes())
        middle = data.index(b"data") + 8 + RATE * 4
        data[middle : middle + 4] = np.float32(value).tobytes()
        file.write_bytes(data)
        return file

    return make


CUT = r"ends in the middle"
BAD: dict[str, tuple[Callable[[Path], Path], dict[str, str], str]] = {
    "half a WAV": (half("half.wav"), {}, CUT),
    "half a FLAC": (half("half.flac"), {}, CUT),
    "half an MP3": (half("half.mp3"), {}, CUT),
    "no number": (no_number(math.nan), {}, "aren't numbers"),
    "infinity": (no_number(math.inf), {}, "aren't numbers"),
    "a model in parts": (sound("broken.wav", seconds=1, seed=24), {"model": "broken"}, "aren't in separate.model_repo"),
    "a deadly model": (sound("deadly.wav", seconds=1, seed=22), {"model": "deadly"}, "ends the process"),
}


@pytest.fixture(scope="module")
def bad_songs(server: Server, folder: Path) -> dict[str, str]:
    return {name: send_song(server, make(folder), **fields) for name, (make, fields, _) in BAD.items()}


@pytest.mark.parametrize("name", BAD)
def test_a_failed_song_says_why(server: Server, bad_songs: dict[str, str], name: str) -> None:
    """A song that can't be separated ends Failed, in words; its tracks are 404 for that reason; its files go."""
    song, words = bad_songs[name], BAD[name][2]
    found = ended_song(server, song)
    assert found["status"] == "Failed"
    assert words in found["error"]
    assert (found["master_url"], found["archive_url"]) == (None, None)
    for path in (f"track/{song}/vocals", f"track/{song}/vocals.flac", f"archive/{song}.zip", f"remove/{song}/vocals"):
        reply = requests.get(f"{server.url}/apiv1/{path}", timeout=30)
        assert (reply.status_code, reply.headers["Content-Type"]) == (404, "application/problem+json")
        assert words in reply.json()["detail"]
        assert reply.json()["song_status"] == "Failed"
    reply = requests.get(f"{server.url}/apiv1/stems/{song}/vocals/index.m3u8", timeout=30)
    assert reply.status_code == 404
    assert "Failed" in reply.json()["detail"]


def test_a_failed_song_is_tried_again(server: Server, bad_songs: dict[str, str], folder: Path) -> None:
    """A song that failed is no answer: submitted again it is tried again; what each model did is still told."""
    song = bad_songs["a deadly model"]
    assert ended_song(server, song)["status"] == "Failed"
    assert send_song(server, folder / "deadly.wav", model="tiny") == song
    assert completed_song(server, song)["model"] == "tiny"
    failed = requests.get(f"{server.url}/apiv1/song/{song}?model=deadly", timeout=30).json()
    assert failed["status"] == "Failed"
    assert requests.get(f"{server.url}/apiv1/track/{song}/vocals?model=deadly", timeout=30).status_code == 404
    assert requests.get(f"{server.url}/apiv1/track/{song}/vocals", timeout=30).status_code == 200
    reply = requests.get(f"{server.url}/apiv1/track/{song}/keytar", timeout=30)
    assert reply.status_code == 404
    assert all(track in reply.json()["detail"] for track in TRACKS)


def test_failed_songs_leave_no_file(server: Server, bad_songs: dict[str, str]) -> None:
    """Of songs that failed nothing stays but their names; once they were removed, not even these."""
    for song in bad_songs.values():
        ended_song(server, song)
        assert requests.delete(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 204
        assert requests.get(f"{server.url}/apiv1/song/{song}", timeout=30).status_code == 404
    whole = requests.get(f"{server.url}/apiv1/songs?limit=200", timeout=30).json()["songs"]
    assert "Failed" not in {found["status"] for found in whole}
