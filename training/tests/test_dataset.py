"""Batches of pieces of songs, whose places, stems and changes are drawn from a seed."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from training.augment import AS_IT_IS, LEAST_GAIN, MOST_GAIN, OTHER_SPEEDS, Speed, at_speed, vary
from training.dataset import Batches, draw_batch

SAMPLES = 400


def song(folder: Path, name: str, stems: np.ndarray) -> Path:
    file = folder / f"{name}.npy"
    partial = file.with_suffix(".partial")
    with partial.open("wb") as out:  # as the generator does it: a training that looks meanwhile finds whole songs
        np.save(out, stems.astype(np.int16))
    partial.replace(file)
    return file


def noise(folder: Path, songs: int, samples: int = 3 * SAMPLES) -> tuple[Path, ...]:
    rng = np.random.default_rng(5)
    return tuple(song(folder, f"noise{n}", rng.uniform(-9000, 9000, (4, 2, samples))) for n in range(songs))


def test_a_step_has_its_batch(tmp_path: Path) -> None:
    """The same seed and step draw the same; another step or seed draws something else."""
    songs = noise(tmp_path, 3)

    def drawn(seed: int, step: int) -> np.ndarray:
        return draw_batch(songs, seed, step, batch=2, samples=SAMPLES)

    assert drawn(1, 7).shape == (2, 4, 2, SAMPLES)
    assert drawn(1, 7).dtype == np.float32
    assert np.array_equal(drawn(1, 7), drawn(1, 7))
    assert not np.array_equal(drawn(1, 7), drawn(1, 8))
    assert not np.array_equal(drawn(1, 7), drawn(2, 7))


def stems_of(songs: Sequence[Path]) -> list[set[int]]:
    """Of each of many pieces the songs that its stems are of, known by one's samples being 9 times another's."""
    sizes = np.abs(draw_batch(songs, 1, 0, batch=60, samples=8)).max((2, 3)) * 32767
    return [{int(np.searchsorted((200, 2000), size)) for size in piece if size} for piece in sizes]


def test_songs_are_mixed_with_each_other(tmp_path: Path) -> None:
    """Many pieces have stems of several songs, and some those of one."""
    songs = [song(tmp_path, f"{level}", np.full((4, 2, 50), level)) for level in (100, 1000, 10000)]
    found = [len(piece) for piece in stems_of(songs)]
    assert sum(count > 1 for count in found) > 20
    assert sum(count == 1 for count in found) > 8


def test_a_short_song_is_filled_up(tmp_path: Path) -> None:
    """A song shorter than a piece is heard whole, and then there is silence."""
    songs = [song(tmp_path, "short", np.full((4, 2, 100), 9000))]
    pieces = draw_batch(songs, 1, 0, batch=8, samples=SAMPLES)
    assert pieces.shape == (8, 4, 2, SAMPLES)
    assert np.abs(pieces[..., 50]).max() > 0.05
    assert not pieces[..., 150:].any()


@pytest.mark.parametrize("speed", [AS_IT_IS, *OTHER_SPEEDS])
def test_another_speed_is_another_pitch(speed: Speed) -> None:
    """A piece is as long as it should be, and its tones are higher by as much as it is faster."""
    rate, hertz, samples = 44_100, 882.0, 44_100
    told = np.arange(speed.samples_for(samples)) / rate
    tone = np.broadcast_to(np.sin(2 * np.pi * hertz * told), (4, 2, len(told))).astype(np.float32)
    played = at_speed(tone, speed, samples)
    assert played.shape == (4, 2, samples)
    assert played.dtype == np.float32
    loudest = np.abs(np.fft.rfft(played[0, 0])).argmax()
    assert abs(loudest - hertz * speed.down / speed.up) <= 1


def test_a_stem_stays_itself() -> None:
    """A stem is louder or quieter within bounds, turned over, mirrored or silent; nothing else happens to it."""
    rng = np.random.default_rng(3)
    piece = rng.uniform(-1, 1, (4, 2, 50)).astype(np.float32)
    varied = np.stack([vary(piece, rng) for _ in range(200)])
    gains = np.abs(varied).max((2, 3)) / np.abs(piece).max((1, 2))
    sounding = gains[gains > 0]
    assert sounding.min() >= LEAST_GAIN - 1e-4
    assert sounding.max() <= MOST_GAIN + 1e-4
    assert 0 < (gains == 0).any(1).mean() < 0.5
    kept = np.isclose(np.abs(varied), gains[..., None, None] * np.abs(piece), atol=1e-5).all((2, 3))
    mirrored = np.isclose(np.abs(varied), gains[..., None, None] * np.abs(piece[:, ::-1]), atol=1e-5).all((2, 3))
    assert (kept | mirrored).all()
    assert kept.any()
    assert mirrored.any()
    assert (varied * piece < 0).any()


def test_batches_go_on_from_a_step(tmp_path: Path) -> None:
    """From the step where a training stopped come the batches that it would have had."""
    songs = noise(tmp_path, 3)
    with Batches(tmp_path, 1, batch=2, samples=SAMPLES, first_step=5) as batches:
        made = list(itertools.islice(batches, 3))
    assert all(
        np.array_equal(batch, draw_batch(songs, 1, step, batch=2, samples=SAMPLES))
        for step, batch in enumerate(made, 5)
    )


def test_songs_may_come_later(tmp_path: Path) -> None:
    """A song that is added while a training runs is found."""
    noise(tmp_path, 1)
    with Batches(tmp_path, 1, batch=1, samples=10) as batches:
        drawing = iter(batches)
        next(drawing)
        noise(tmp_path, 2)
        for _ in range(200):
            next(drawing)
        assert batches.songs == 2


def test_what_is_no_song_is_told(tmp_path: Path) -> None:
    """A file that isn't four stereo stems is named where the next batch is asked for."""
    np.save(tmp_path / "mono.npy", np.zeros((4, 100), np.int16))
    with Batches(tmp_path, 1, batch=1, samples=10) as batches, pytest.raises(ValueError, match=r"mono\.npy is no song"):
        next(iter(batches))
