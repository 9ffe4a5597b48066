"""The song by which the page shows what separation is: the same each time, and all four stems sound all through."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training.demo import BASS, KIT, OTHERS, SECONDS, main, song
from training.measures import Samples
from training.songs.effects import loudness_db
from training.songs.sampler import HELD_OUT_BASSES, HELD_OUT_KITS, HELD_OUT_OTHERS
from training.songs.score import RATE, STEMS
from training.soundfiles import read_song, read_sound

SMALL_SOUNDFONT = "TimGM6mb.sf2"
SHIPPED = Path(__file__).resolve().parents[2] / "static" / "demo" / "song.mp3"


@pytest.fixture(scope="module")
def stems() -> Samples:
    return song(SMALL_SOUNDFONT)


def test_each_stem_sounds_all_through(stems: Samples) -> None:
    """In any two and a half seconds, about a bar, each stem is well above what is noticed, and none is hidden."""
    assert stems.shape == (len(STEMS), 2, round(SECONDS * RATE))
    parts = np.split(stems, 8, axis=2)
    levels = [[loudness_db(stem) for stem in part] for part in parts]
    assert np.min(levels) > -30, levels
    assert np.ptp([loudness_db(stem) for stem in stems]) < 6
    assert np.abs(stems.sum(0)).max() < 0.9


def test_the_command_writes_the_same_song(stems: Samples, tmp_path: Path) -> None:
    """Byte for byte, so that whoever makes it again sees that it is this; its stems are kept where they are wanted."""
    files = [tmp_path / name for name in ("first.mp3", "second.mp3")]
    for file in files:
        options = ["--soundfont", SMALL_SOUNDFONT, "--stems", str(tmp_path / "stems.npy")]
        done = CliRunner().invoke(main, [str(file), *options])
        assert done.exit_code == 0, done.output
    assert files[0].read_bytes() == files[1].read_bytes()
    assert np.abs(read_song(tmp_path / "stems.npy") - stems).max() < 1e-4
    heard = read_sound(files[0])
    assert heard.shape == stems.shape[1:]
    assert np.corrcoef(heard[0], stems.sum(0)[0])[0, 1] > 0.99


def test_what_is_shipped_is_sung_here(stems: Samples) -> None:
    """The voice, which no soundfont decides, is in the page's file, sample by sample, where this command puts it."""
    heard, voice = read_sound(SHIPPED)[0], stems[STEMS.index("vocals")][0]
    assert len(heard) == len(voice)
    alone = [np.corrcoef(heard, np.roll(voice, aside))[0, 1] for aside in (0, 3 * RATE)]
    assert alone[0] > 0.4
    assert abs(alone[1]) < 0.1


def test_it_is_played_by_who_is_held_out() -> None:
    """The built-in model has never heard these players: what it shows here it does with songs of others, too."""
    assert {*OTHERS} <= HELD_OUT_OTHERS
    assert BASS in HELD_OUT_BASSES
    assert KIT in HELD_OUT_KITS
