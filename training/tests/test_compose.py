"""Songs by rules: what a score keeps to, whichever seed it is of."""

import numpy as np
import pytest

from training.songs.compose import compose
from training.songs.score import DRUMS, Note

SEEDS = range(40)
SECONDS = 20.0


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_lies_within_the_song(seed: int) -> None:
    """Notes and hits begin within the song, last, and are drums and pitches that instruments have."""
    score = compose(np.random.default_rng(seed), SECONDS)
    notes = [*score.bass, *score.melody, *(note for part in score.others for note in part)]
    assert all(0 <= event.start < SECONDS for event in (*notes, *score.drums))
    assert all(note.length > 0 and 0 < note.velocity <= 1 and 21 <= note.pitch <= 108 for note in notes)
    assert all(hit.drum in DRUMS and 0 < hit.velocity <= 1 for hit in score.drums)


@pytest.mark.parametrize("seed", SEEDS)
def test_everybody_plays(seed: int) -> None:
    """No part is empty from end to end: a stem that is silent teaches nothing."""
    score = compose(np.random.default_rng(seed), 60)
    assert score.drums
    assert score.bass
    assert score.melody
    assert all(score.others)


def test_a_score_follows_from_its_seed() -> None:
    """The same seed makes the same song, another seed another one."""
    one, again, other = (compose(np.random.default_rng(seed), SECONDS) for seed in (3, 3, 4))
    assert one == again
    assert one != other


@pytest.mark.parametrize("seed", SEEDS)
def test_all_play_in_one_key(seed: int) -> None:
    """Basses, chords and tunes share the seven tones of a scale, but for thirds and sevenths that basses leap to."""
    score = compose(np.random.default_rng(seed), SECONDS)
    tones = {round(note.pitch) % 12 for part in (score.melody, *score.others) for note in part}
    assert len(tones) <= 7


def test_a_bass_stays_below_and_a_tune_above() -> None:
    """Basses play within their two and a half octaves, tunes where they can be sung once they are transposed."""
    scores = [compose(np.random.default_rng(seed), SECONDS) for seed in SEEDS]
    assert all(span_of(score.bass) <= 30 and max(pitches(score.bass)) < 60 for score in scores)
    assert all(span_of(score.melody) <= 24 for score in scores)


def pitches(notes: tuple[Note, ...]) -> list[float]:
    return [note.pitch for note in notes]


def span_of(notes: tuple[Note, ...]) -> float:
    return max(pitches(notes)) - min(pitches(notes))
