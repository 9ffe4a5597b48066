"""The song that comes with the page, by which a newcomer hears what separation is."""

from pathlib import Path

import numpy as np
import pytest
from support.checkout import ROOT
from support.performed import STEMS
from support.server import serving
from support.songs import RATE, completed_song, send_song, track_bytes
from support.sound import decode

SONG = ROOT / "static" / "demo" / "song.mp3"
MOST_BYTES = 500_000
# In dB below full scale. What is quieter isn't noticed in a song.
AUDIBLE_DB = -35.0


def level_db(samples: np.ndarray) -> float:
    """The root mean square of int16 samples, in dB below full scale."""
    return float(10 * np.log10(np.mean(np.square(samples / 32768)) + 1e-12))


def test_it_is_short_small_and_sounds_to_its_end() -> None:
    """Twenty seconds of stereo in less than half a megabyte, no second of which is silent and no sample clipped."""
    assert SONG.stat().st_size < MOST_BYTES
    heard = decode(SONG)
    assert heard.shape[1] == 2
    assert len(heard) / RATE == pytest.approx(20, abs=0.5)
    assert min(level_db(heard[at : at + RATE]) for at in range(0, len(heard) - RATE, RATE)) > AUDIBLE_DB
    assert -3 < 20 * np.log10(np.abs(heard.astype(int)).max() / 32768) < -0.1


@pytest.mark.thorough
def test_its_stems_are_all_heard(tmp_path: Path) -> None:
    """Separated on a server that nobody gave a better model, it has drums, bass, chords and a voice."""
    with serving(tmp_path / "data") as server:
        sent = send_song(server, SONG)
        assert completed_song(server, sent, seconds=100)["model"] == "streamsrv-small"
        levels = {}
        for name in STEMS:
            file = tmp_path / f"{name}.wav"
            file.write_bytes(track_bytes(server, sent, f"{name}.wav"))
            levels[name] = level_db(decode(file))
    assert min(levels.values()) > AUDIBLE_DB, levels
