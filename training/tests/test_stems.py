"""The stems of a song as files: each is heard again in its own, and the same song gives the same ones."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training.measures import sdr
from training.songs.score import RATE, STEMS
from training.soundfiles import read_sound, write_song
from training.stems import main


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Three seconds of four tones."""
    angle = 2 * np.pi * np.arange(3 * RATE) / RATE
    tones = 0.2 * np.sin(np.array([3000, 110, 440, 700])[:, None, None] * angle)
    write_song(np.repeat(tones, 2, axis=1), tmp_path / "song.npy")
    return tmp_path / "song.npy"


@pytest.mark.parametrize(("options", "seconds"), [((), 3), (("--seconds", "2"), 2)])
def test_each_stem_is_a_file(options: tuple[str, ...], seconds: int, song: Path, tmp_path: Path) -> None:
    """As long as the song or as was asked for, and of what is heard in it hardly anything is not of its stem."""
    told = CliRunner().invoke(main, [str(song), "--out", str(tmp_path / "stems"), *options])
    assert told.exit_code == 0, told.output
    assert {file.name for file in (tmp_path / "stems").iterdir()} == {f"{name}.opus" for name in STEMS}
    for name, stem in zip(STEMS, np.load(song) / np.float32(32767), strict=True):
        read = read_sound(tmp_path / "stems" / f"{name}.opus")
        assert read.shape == (2, seconds * RATE)
        assert sdr(stem[:, : seconds * RATE], read) > 15


def test_a_song_gives_the_same_files(song: Path, tmp_path: Path) -> None:
    """Byte for byte, so that whoever makes them again sees that they are these."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        assert CliRunner().invoke(main, [str(song), "--out", str(folder)]).exit_code == 0
    first, second = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert first == second
