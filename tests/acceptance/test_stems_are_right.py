"""What the built-in model makes of a song that it never heard, through the server: the right sound in each stem."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.performed import STEMS, performed, written
from support.server import Server, serving
from support.songs import completed_song, send_song, track_bytes
from support.sound import decode

# How much better a stem is than the mix in its place, in dB. The card's figures are means over whole songs.
LEAST_GAIN = {"drums": 10.0, "bass": 10.0, "other": 5.5, "vocals": 5.5}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody gave another model."""
    folder = tmp_path_factory.mktemp("right")
    with serving(folder / "data") as server:
        yield server


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return performed()


@pytest.mark.thorough
def test_each_stem_is_better_than_the_mix(server: Server, truth: np.ndarray, tmp_path: Path) -> None:
    """Drums, bass, other and vocals of a held-out song come nearer to the true ones than the mix by a wide margin."""
    mix = truth.sum(axis=0)
    sent = send_song(server, written(tmp_path / "mix.flac", mix, "-sample_fmt", "s32"))
    assert completed_song(server, sent, seconds=100)["model"] == "streamsrv-small"
    gains = {}
    for name, true in zip(STEMS, truth, strict=True):
        file = tmp_path / f"{name}.wav"
        file.write_bytes(track_bytes(server, sent, f"{name}.wav"))
        made = decode(file).T / np.float32(32768)
        gains[name] = 10 * np.log10(np.square(mix - true).sum() / np.square(made - true).sum())
    assert all(gains[name] >= least for name, least in LEAST_GAIN.items()), gains
