"""A folder of songs as batches of pieces, drawn ahead of their use.

A batch follows from the seed, its step and the songs that are there: a training that goes on from a checkpoint draws
what it would have drawn. The folder is looked through again now and then, for songs are added while a training runs.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from training.augment import Samples, at_speed, draw_speed, vary
from training.songs.score import STEMS
from training.soundfiles import list_songs, open_song, scaled

# The share of pieces whose stems are of one moment of one song. The others' are each from anywhere.
_COHERENT = 0.5
# A stem that is silent where it was drawn is drawn again this often: there is nothing to be learnt but silence.
_DRAWS = 2
# -60 dB of full scale.
_SILENT_BELOW = 0.001
_STEPS_PER_LOOK = 100
_BATCHES_AHEAD = 4


def draw_batch(songs: Sequence[Path], seed: int, step: int, *, batch: int, samples: int) -> Samples:
    """The stems of the pieces of a step, float32 [piece, stem, channel, sample]; a piece's mix is their sum."""
    rng = np.random.default_rng((seed, step))
    return np.stack([_draw_piece(songs, rng, samples) for _ in range(batch)])


# Songs are opened for each piece: a file kept open for each of thousands is more than a process may have.
def _draw_piece(songs: Sequence[Path], rng: np.random.Generator, samples: int) -> Samples:
    speed = draw_speed(rng)
    read = speed.samples_for(samples)
    if rng.random() < _COHERENT:
        piece = _anywhere(open_song(songs[int(rng.integers(len(songs)))]), rng, read)
    else:
        piece = np.stack([_draw_stem(songs, stem, rng, read) for stem in range(len(STEMS))])
    return vary(at_speed(piece, speed, samples), rng)


def _draw_stem(songs: Sequence[Path], stem: int, rng: np.random.Generator, samples: int) -> Samples:
    for _ in range(_DRAWS):
        piece = _anywhere(open_song(songs[int(rng.integers(len(songs)))])[stem], rng, samples)
        if np.abs(piece).max() >= _SILENT_BELOW:
            break
    return piece


def _anywhere(sound: np.ndarray, rng: np.random.Generator, samples: int) -> Samples:
    """A piece from a random place; where the sound is shorter, all of it and silence."""
    start = int(rng.integers(max(0, sound.shape[-1] - samples) + 1))
    piece = scaled(sound[..., start : start + samples])
    missing = samples - piece.shape[-1]
    return np.pad(piece, [(0, 0)] * (piece.ndim - 1) + [(0, missing)]) if missing else piece


class Batches:
    """The batches of the steps from `first_step` on, without end, made by a thread within the `with` block.

    What goes wrong there is raised where the next batch is asked for.
    """

    def __init__(self, folder: Path, seed: int, *, batch: int, samples: int, first_step: int = 0) -> None:
        self._folder, self._seed, self._batch, self._samples = folder, seed, batch, samples
        self._first_step = first_step
        self._songs = list_songs(folder)
        self._made: queue.Queue[Samples | Exception] = queue.Queue(_BATCHES_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make, name="batches", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            self._next_if_any()
            self._thread.join(0.01)

    def __iter__(self) -> Iterator[Samples]:
        while True:
            made = self._made.get()
            if isinstance(made, Exception):
                raise made
            yield made

    @property
    def songs(self) -> int:
        """How many songs there were when the folder was looked through last."""
        return len(self._songs)

    def _make(self) -> None:
        step = self._first_step
        try:
            while not self._stopped.is_set():
                if step % _STEPS_PER_LOOK == 0:
                    self._songs = list_songs(self._folder)
                self._made.put(draw_batch(self._songs, self._seed, step, batch=self._batch, samples=self._samples))
                step += 1
        except Exception as error:
            self._made.put(error)

    def _next_if_any(self) -> None:
        try:
            self._made.get_nowait()
        except queue.Empty:
            return
