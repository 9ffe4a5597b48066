"""The songs that the built-in model learns from, with FluidSynth and the smaller soundfont."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training.songs.__main__ import main
from training.songs.mixing import Song, song
from training.songs.sampler import HELD_OUT_BASSES, HELD_OUT_KITS, HELD_OUT_OTHERS
from training.songs.score import RATE

SMALL_SOUNDFONT = ("TimGM6mb.sf2",)
SECONDS = 8.0
ROOT = Path(__file__).resolve().parents[2]


def made(seed: int, *, held_out: bool = False) -> Song:
    return song(seed, SECONDS, held_out=held_out, soundfonts=SMALL_SOUNDFONT)


@pytest.mark.parametrize("seed", range(4))
def test_four_stems_that_sound(seed: int) -> None:
    """Each stem is stereo, finite, audible, and their sum never clips."""
    stems = made(seed).stems
    assert stems.shape == (4, 2, round(SECONDS * RATE))
    assert np.isfinite(stems).all()
    assert (np.sqrt((stems**2).mean((1, 2))) > 0.003).all()
    assert np.abs(stems.sum(0)).max() <= 1


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


def test_the_command_as_it_is_run(tmp_path: Path) -> None:
    """From the shell, by processes of its own."""
    argv = [sys.executable, "-m", "training.songs", str(tmp_path), "--songs", "2", "--seconds", "1", "--processes", "2"]
    subprocess.run([*argv, "--soundfont", *SMALL_SOUNDFONT], check=True, timeout=100, cwd=ROOT)
    assert len([*tmp_path.glob("*.npy")]) == 2
