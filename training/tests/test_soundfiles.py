"""Songs as files: what is written is read, and what can't be read is told by its name."""

import io
from pathlib import Path

import numpy as np
import pytest

from training.soundfiles import UnreadableSound, list_songs, open_song, read_song, read_sound, write_song


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


SONG = npy(np.ones((4, 2, 100), np.int16))
NO_SONGS = {
    "empty": b"",
    "cut-off": SONG[:-10],
    "cut-off-soon": SONG[:50],
    "something-else": b"ID3 and no song at all",
    "without-samples": npy(np.zeros((4, 2, 0), np.int16)),
    "mono": npy(np.zeros((4, 100), np.int16)),
    "floats": npy(np.zeros((4, 2, 100), np.float32)),
}


def test_a_song_is_read_as_it_was_written(tmp_path: Path) -> None:
    """But for the rounding to 16 bits, from full scale to full scale."""
    stems = np.random.default_rng(1).uniform(-1, 1, (4, 2, 1000)).astype(np.float32)
    stems[0, 0, :2] = 1, -1
    write_song(stems, tmp_path / "song.npy")
    read = read_song(tmp_path / "song.npy")
    assert (type(read), read.dtype) == (np.ndarray, np.float32)
    assert np.abs(read - stems).max() <= 0.5 / 32767 + 1e-6
    assert list(read[0, 0, :2]) == [1, -1]
    assert open_song(tmp_path / "song.npy").dtype == np.int16


@pytest.mark.parametrize("kind", NO_SONGS)
def test_what_is_no_song_is_told_by_its_name(kind: str, tmp_path: Path) -> None:
    """Whatever is wrong with a file, its name and one line tell it."""
    file = tmp_path / f"{kind}.npy"
    file.write_bytes(NO_SONGS[kind])
    with pytest.raises(UnreadableSound, match=rf"{kind}\.npy (can't be read|is no song)[^\n]*$"):
        open_song(file)
    file.unlink()
    with pytest.raises(UnreadableSound, match=rf"{kind}\.npy can't be read"):
        read_song(file)


def test_songs_are_whole_files(tmp_path: Path) -> None:
    """They come by their names; what a maker has left unfinished is none, and a folder without any is refused."""
    (tmp_path / "000003.77.partial").write_bytes(SONG)
    with pytest.raises(UnreadableSound, match="no songs"):
        list_songs(tmp_path)
    for name in ("b", "a"):
        (tmp_path / f"{name}.npy").write_bytes(SONG)
    assert [file.name for file in list_songs(tmp_path)] == ["a.npy", "b.npy"]


def test_what_is_no_sound_is_told_in_a_line() -> None:
    """What ffmpeg says in the end is enough."""
    with pytest.raises(UnreadableSound, match=r"^pipe:0 can't be read as sound: [^\n]+$"):
        read_sound(b"no sound at all")
