"""The songs that the built-in model learns from, with FluidSynth and the smaller soundfont."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training.songs import files as making
from training.songs import mixing
from training.songs.__main__ import main
from training.songs.mixing import Song, song
from training.songs.sampler import HELD_OUT_BASSES, HELD_OUT_KITS, HELD_OUT_OTHERS
from training.songs.score import RATE
from training.soundfiles import read_song, write_song

SMALL_SOUNDFONT = ("TimGM6mb.sf2",)
SECONDS = 8.0
ROOT = Path(__file__).resolve().parents[2]


def made(seed: int, *, held_out: bool = False) -> Song:
    return song(seed, SECONDS, held_out=held_out, soundfonts=SMALL_SOUNDFONT)


@pytest.mark.parametrize("seed", range(4))
def test_four_stems_that_sound(seed: int) -> None:
    """Each stem is stereo, finite, audible, and neither one of them nor their sum clips."""
    stems = made(seed).stems
    assert stems.shape == (4, 2, round(SECONDS * RATE))
    assert np.isfinite(stems).all()
    assert (np.sqrt((stems**2).mean((1, 2))) > 0.003).all()
    assert np.abs(stems.sum(0)).max() <= 0.99
    assert np.abs(stems).max() <= 1


def test_stems_that_cancel_never_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where a stem is louder than the mix, since another takes it away, it is the stem that is kept in 16 bits."""
    tone = np.sin(np.arange(RATE) / 20).astype(np.float32)
    sounds = {"drums": tone, "bass": np.cos(np.arange(RATE) / 200), "other": -tone, "vocals": 0.5 * tone}
    stereo = {name: np.stack([sound, sound]) for name, sound in sounds.items()}
    monkeypatch.setattr(mixing, "_sounded", lambda *_: stereo)
    monkeypatch.setattr(
        mixing, "_LEVELS", dict.fromkeys(sounds, (-20.0, 0.0)) | {"bass": (-60.0, 0.0), "vocals": (-60.0, 0.0)}
    )
    stems = mixing.song(1, 1.0).stems
    assert 0.39 < np.abs(stems).max() <= 0.98 + 1e-6
    write_song(stems, tmp_path / "song.npy")
    assert np.allclose(read_song(tmp_path / "song.npy"), stems, atol=1e-4)


def test_a_song_follows_from_its_seed() -> None:
    """Sample for sample, whenever it is made: what was trained on can be made again."""
    assert np.array_equal(made(1).stems, made(1).stems)


def test_held_out_songs_have_other_players() -> None:
    """No instrument and no kit of a held-out song is ever heard in training, nor the other way round."""
    for seed in range(4):
        for held_out in (False, True):
            story = made(seed, held_out=held_out).story
            assert {p in HELD_OUT_OTHERS for p in story["others"] if p >= 0} <= {held_out}
            assert story["bass"] < 0 or (story["bass"] in HELD_OUT_BASSES) == held_out
            assert story["kit"] < 0 or (story["kit"] in HELD_OUT_KITS) == held_out


def test_the_command_leaves_what_is_there(tmp_path: Path) -> None:
    """Run again it makes only songs that are missing; no part of one is left."""
    arguments = [str(tmp_path), "--songs", "2", "--seconds", "2", "--soundfont", *SMALL_SOUNDFONT]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    files = sorted(tmp_path.glob("*.npy"))
    assert [file.name for file in files] == ["000001.npy", "000002.npy"]
    stems = np.load(files[0])
    assert (stems.dtype, stems.shape) == (np.int16, (4, 2, 2 * RATE))
    before = files[1].stat().st_mtime_ns
    files[0].unlink()
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert files[1].stat().st_mtime_ns == before
    assert {file.name for file in tmp_path.iterdir()} == {"000001.npy", "000002.npy", "songs.jsonl"}
    assert np.array_equal(np.load(files[0]), stems)


def test_two_may_make_one_song(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two makers that are at the same song at a time don't write to one file, and don't take it from each other."""
    made = Song(np.zeros((4, 2, 10), np.float32), {})
    monkeypatch.setattr(making, "song", lambda *_, **__: made)

    def make() -> None:
        making.make(tmp_path, 1, seconds=1.0, held_out=False, soundfonts=SMALL_SOUNDFONT)

    def write_slowly(stems: np.ndarray, file: Path) -> None:
        write_song(stems, file)
        # The other one begins and ends before this one goes on.
        monkeypatch.setattr(making, "write_song", write_song)
        monkeypatch.setattr(making.os, "getpid", lambda: 2)
        make()

    monkeypatch.setattr(making, "write_song", write_slowly)
    make()
    assert {file.name for file in tmp_path.iterdir()} == {"000001.npy", "songs.jsonl"}
    assert np.array_equal(read_song(tmp_path / "000001.npy"), made.stems)


def test_the_command_as_it_is_run(tmp_path: Path) -> None:
    """From the shell, by processes of its own."""
    argv = [sys.executable, "-m", "training.songs", str(tmp_path), "--songs", "2", "--seconds", "1", "--processes", "2"]
    subprocess.run([*argv, "--soundfont", *SMALL_SOUNDFONT], check=True, timeout=100, cwd=ROOT)
    assert len([*tmp_path.glob("*.npy")]) == 2
